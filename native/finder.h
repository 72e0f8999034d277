// The reference finder, version 1: every place of an executable that holds an address, in the order of the file, from any
// place on. It reads the old file only. Nothing here keeps a list of references: code is swept again where it is asked
// for, from a synchronisation point every 4 KiB.
#pragma once
#include <array>
#include <vector>

#include "image.h"
#include "instruction.h"

namespace suture {

enum Kind : u8 {
    kBranch,       // call, jump, conditional jump: 32-bit displacement from the next instruction
    kRipRelative,  // 32-bit displacement from the next instruction
    kJumpTable,    // 32-bit displacement from the table's begin
    kWord64,       // 64-bit address
    kWord32,       // 32-bit address, in files with a fixed position
    kUnwind,       // .eh_frame: 32-bit displacement from itself
    kUnwindBack,   // .eh_frame: 32-bit distance back to the CIE
    kIndex24,      // index into a table of 24-byte entries
    kStringIndex,  // offset into a string table
    kSlot,         // .rela.plt: 64-bit address of a slot
    kExtent,       // size of what begins at the base
    kKinds
};

struct Reference {
    u64 offset = 0;  // in the file
    u64 base = 0;    // what the value is relative to, an address of the old file
    u64 target = 0;  // an address of the old file
    u8 size = 4;     // bytes
    Kind kind = kBranch;
};

class Finder {
  public:
    Finder(View file, const Image& image, const Space& space);

    // References in the order of the file.
    class Cursor {
      public:
        explicit Cursor(const Finder& finder) : finder_(finder) {}
        // To the first reference that begins at or after an offset.
        void seek(u64 offset);
        // The current one, or null at the end.
        const Reference* peek() const { return next_ < count_ ? &queue_[next_] : nullptr; }
        void advance() {
            if (++next_ >= count_) refill();
        }
        // The instruction boundary at or before the current reference is of no concern to callers; where code is swept,
        // this is the offset of the next instruction.
        u64 swept_to() const { return at_; }

      private:
        void refill();
        bool enter(u64 region, u64 offset);
        void code(u64 section, u64 end);
        const Finder& finder_;
        std::array<Reference, 4> queue_;
        u32 next_ = 0, count_ = 0;
        u64 region_ = 0, at_ = 0, table_ = 0;
    };

    // Whether an old offset lies in code.
    bool is_code(u64 offset) const;

  private:
    enum class Class : u8 { kCode, kTables, kUnwind, kSymbols, kSlots, kWords, kLoose, kDynamic };
    struct Region {
        u64 begin, end;
        Class what;
        u32 section;
        u64 data;  // first entry of syncs_, marks_ or words_ that is its own
    };
    struct JumpTable {
        u64 offset, base;
        u32 count;
    };
    static constexpr u64 kGranule = 4096;

    void sweep(Region& region);
    void note_table(const Instruction& instruction, u64 target, u64 number);
    void find_tables();
    bool loose_word(u64 at, u64 end) const;
    void sweep_loose(Region& region);
    void walk_unwind(Region& region);
    void mark_words();
    void mark(u64 address);
    bool in_image(u64 address) const { return image_.range.holds(address); }
    // An address as the engine means it: one of the loaded image.
    void code_references(const Instruction& i, u64 offset, const Section& s, bool plt, std::array<Reference, 4>& out, u32& n) const;
    void unwind_references(u64 at, const Section& s, std::array<Reference, 4>& out, u32& n) const;
    void symbol_references(u64 at, const Section& s, std::array<Reference, 4>& out, u32& n) const;
    void slot_references(u64 at, std::array<Reference, 4>& out, u32& n) const;
    void dynamic_reference(u64 at, std::array<Reference, 4>& out, u32& n) const;
    void word_reference(u64 at, std::array<Reference, 4>& out, u32& n) const;

    View file_;
    const Image& image_;
    const Space& space_;
    std::vector<Region> regions_;
    std::vector<u8> syncs_;    // for each granule of code or loose words: distance to the first one that begins in it
    std::vector<u32> marks_;   // for each 64th entry of .eh_frame: its distance from the section's begin
    std::vector<u64> words_;   // bit field: aligned words that hold addresses
    std::vector<JumpTable> jump_tables_;
    // While sweeping:
    std::vector<u64> evident_;   // addresses of tables that a movsxd follows
    std::vector<u64> named_;     // bit field: aligned words of .rodata that code names
    struct Recent {
        u64 target = 0, number = 0;
    };
    std::array<Recent, 8> recent_{};
    u32 recent_next_ = 0;
    int rodata_ = -1, text_ = -1, plt_slots_ = -1, symbols_ = -1;
};

}  // namespace suture
