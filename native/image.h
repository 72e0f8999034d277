// An executable as sections and address spaces: what the parser found in the old file, what the patch says of the new.
#pragma once
#include <array>
#include <string_view>
#include <vector>

#include "bytes.h"

namespace suture {

// One section header, with the address that the engine uses: sections that are not loaded lie above kUnloaded.
struct Section {
    u32 name = 0, type = 0;
    u64 flags = 0, address = 0, offset = 0, size = 0;
    u32 link = 0, info = 0;
    u64 alignment = 0, entry_size = 0;
    u64 virtual_address = 0;  // address, or kUnloaded + offset
    std::string_view label;   // the name's text; old file only
    i64 match = -1;           // new file only: index of the old section it continues, or -1

    bool in_file() const { return type != 8; }  // SHT_NOBITS
    bool loaded() const { return flags & 2; }   // SHF_ALLOC
    bool code() const { return flags & 4; }     // SHF_EXECINSTR
    bool thread_local_zeros() const { return (flags & 0x400) && type == 8; }
    // Whether addresses inside it are places in the file.
    bool mapped() const { return in_file() && size && (loaded() || virtual_address >= kUnloaded); }
    static constexpr u64 kUnloaded = 1ULL << 44;
};

struct Span {
    u64 begin = 0, end = 0;
    bool holds(u64 x) const { return x >= begin && x < end; }
    u64 size() const { return end - begin; }
};

// The tables that are not part of the stream of plain bytes, but predicted or rebuilt whole.
enum Table : int { kRela, kUnwindHeader, kSymbolHash, kSectionHeaders, kTables };

struct Image {
    u64 size = 0;
    std::vector<Section> sections;
    bool fixed = false;  // ET_EXEC
    Span range;          // addresses of the loaded segments; old file only
    u64 headers_offset = 0;
    std::array<Span, kTables> tables{};  // empty where there is none

    // The first section of that name that has bytes in the file, or -1.
    int find(std::string_view label) const {
        for (u64 i = 0; i < sections.size(); ++i)
            if (sections[i].label == label && sections[i].in_file() && sections[i].size) return static_cast<int>(i);
        return -1;
    }
};

// The plain bytes of a file: all but its tables, in order; positions in it are "stream positions".
class Stream {
  public:
    explicit Stream(const Image& image) {
        std::vector<Span> out;
        for (const Span& t : image.tables)
            if (t.size()) out.push_back(t);
        for (u64 i = 1; i < out.size(); ++i)
            for (u64 k = i; k && out[k].begin < out[k - 1].begin; --k) std::swap(out[k], out[k - 1]);
        u64 at = 0;
        for (const Span& t : out) {
            add(at, t.begin);
            at = t.end;
        }
        add(at, image.size);
    }
    struct Piece {
        u64 position, offset, size;
    };
    const std::vector<Piece>& pieces() const { return pieces_; }
    u64 size() const { return size_; }
    // The piece that holds a stream position (the last one for the end).
    const Piece& piece_at(u64 position) const {
        u64 i = 0;
        while (i + 1 < pieces_.size() && pieces_[i + 1].position <= position) ++i;
        return pieces_[i];
    }
    u64 offset_of(u64 position) const {
        const Piece& p = piece_at(position);
        return p.offset + (position - p.position);
    }
    // The stream position of a file offset, or -1 inside a table.
    i64 position_of(u64 offset) const {
        for (const Piece& p : pieces_)
            if (offset >= p.offset && offset - p.offset < p.size) return static_cast<i64>(p.position + (offset - p.offset));
        return -1;
    }

  private:
    void add(u64 begin, u64 end) {
        if (end > begin) {
            pieces_.push_back({size_, begin, end - begin});
            size_ += end - begin;
        }
    }
    std::vector<Piece> pieces_;
    u64 size_ = 0;
};

// Addresses of a file's bytes, both ways.
class Space {
  public:
    explicit Space(const Image& image);
    // The file offset of an address, or -1.
    i64 offset_of(u64 address) const;
    // The address of a file offset: by the last section that begins at or before it, else the offset itself.
    u64 address_of(u64 offset) const;

  private:
    struct Entry {
        u64 address, offset, size;
    };
    std::vector<Entry> by_address_, by_offset_;
    mutable u64 last_address_ = 0, last_offset_ = 0;
};

// Parses an x86-64 ELF file; false for anything else, and for anything that is not whole: then it is raw bytes.
bool parse_elf(View file, Image& image);

}  // namespace suture
