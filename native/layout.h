// What the patch says of the new file's sections, as differences from what the old file's lead one to expect.
#pragma once
#include "coder.h"
#include "image.h"

namespace suture {

class LayoutModel {
  public:
    // Decoding fills `now` (its size is set before); encoding reads it. Throws Malformed where it cannot be.
    template <class C>
    void code(C& coder, const Image& old, Image& now) {
        const u64 count = unzigzag(count_.code(coder, zigzag(now.sections.size() - old.sections.size()))) + old.sections.size();
        if (count > kMostSections) throw Malformed("too many sections");
        if constexpr (!C::kEncoding) now.sections.resize(count);
        i64 expected = 0;
        for (u64 i = 0; i < count; ++i) {
            Section& s = now.sections[i];
            s.match = code_match(coder, s.match, expected, old);
            expected = s.match + 1;
            code_section(coder, old, now, i);
        }
        const u64 guess = start_after(end_of(old, old.sections.size()), old.headers_offset, end_of(now, count), 8);
        now.headers_offset = guess + unzigzag(count_.code(coder, zigzag(now.headers_offset - guess)));
        code_tables(coder, old, now);
        if constexpr (!C::kEncoding) validate(now);
    }

    // Where a new table lies: the section that continues the old table's, or the headers themselves; empty if nowhere.
    static Span table_span(const Image& old, const Image& now, int table);

  private:
    static constexpr u64 kMostSections = 4096;
    enum { kName, kType, kFlags, kAddress, kOffset, kSize, kLink, kInfo, kAlignment, kEntrySize, kFields };

    template <class C>
    i64 code_match(C& coder, i64 match, i64 expected, const Image& old) {
        const i64 count = static_cast<i64>(old.sections.size());
        if (coder.code(as_expected_, match == expected && expected < count)) {
            if (expected >= count) throw Malformed("a section continues none");
            return expected;
        }
        const u64 value = match_.code(coder, static_cast<u64>(match + 1));
        if (value > static_cast<u64>(count)) throw Malformed("a section continues none");
        return static_cast<i64>(value) - 1;
    }

    template <class C>
    void code_section(C& coder, const Image& old, Image& now, u64 index) {
        Section& s = now.sections[index];
        static const Section kNone{};
        const Section& was = s.match >= 0 ? old.sections[static_cast<u64>(s.match)] : kNone;
        u64 fields[kFields] = {s.name, s.type, s.flags, s.address, s.offset, s.size, s.link, s.info, s.alignment, s.entry_size};
        u64 guess[kFields] = {was.name + name_shift_, was.type, was.flags, 0, 0, was.size, was.link, was.info, was.alignment, was.entry_size};
        const auto guess_place = [&] {
            // Known by now in both directions: type and flags (coded before address and offset).
            s.type = static_cast<u32>(fields[kType]);
            s.flags = fields[kFlags];
            guess[kAddress] = guess_address(old, now, index, was);
        };
        bool plain = true;
        if constexpr (C::kEncoding) {
            Section copy = s;
            guess_place();
            guess[kOffset] = guess_offset(old, now, index, was, fields[kAddress]);
            for (int f = 0; f < kFields; ++f) plain &= fields[f] == guess[f];
            s = copy;
        }
        plain = coder.code(plain_, plain);
        for (int f : {kType, kFlags, kAddress, kOffset, kSize, kName, kLink, kInfo, kAlignment, kEntrySize}) {
            if (f == kAddress) guess_place();
            if (f == kOffset) guess[kOffset] = guess_offset(old, now, index, was, fields[kAddress]);
            if (plain) {
                fields[f] = guess[f];
            } else if (coder.code(same_[f], fields[f] == guess[f])) {
                fields[f] = guess[f];
            } else {
                fields[f] = guess[f] + unzigzag(fields_[f].code(coder, zigzag(fields[f] - guess[f])));
            }
        }
        s.name = static_cast<u32>(fields[kName]);
        s.type = static_cast<u32>(fields[kType]);
        s.flags = fields[kFlags];
        s.address = fields[kAddress];
        s.offset = fields[kOffset];
        s.size = fields[kSize];
        s.link = static_cast<u32>(fields[kLink]);
        s.info = static_cast<u32>(fields[kInfo]);
        s.alignment = fields[kAlignment];
        s.entry_size = fields[kEntrySize];
        s.virtual_address = s.loaded() || !s.in_file() || !s.size ? s.address : Section::kUnloaded + s.offset;
        name_shift_ = s.match >= 0 ? s.name - was.name : 0;
    }

    template <class C>
    void code_tables(C& coder, const Image& old, Image& now) {
        bool all = true;
        for (int t = 0; t < kTables; ++t) all &= (old.tables[t].size() != 0) == (now.tables[t].size() != 0);
        all = coder.code(all_tables_, all);
        for (int t = 0; t < kTables; ++t) {
            if (!old.tables[t].size()) continue;
            const bool there = all || coder.code(table_, now.tables[t].size() != 0);
            if constexpr (!C::kEncoding) {
                if (!there) continue;
                now.tables[t] = table_span(old, now, t);
                if (!now.tables[t].size()) throw Malformed("a table without a section");
            }
        }
    }

    // Where something begins after something else: aligned as it was, else moved as much as what is before it.
    static u64 start_after(u64 old_end, u64 old_start, u64 new_end, u64 alignment) {
        const u64 a = alignment && !(alignment & (alignment - 1)) ? alignment : 1;
        if (old_start == ((old_end + a - 1) & ~(a - 1))) return (new_end + a - 1) & ~(a - 1);
        return old_start + (new_end - old_end);
    }
    static u64 end_of(const Image& image, u64 count) {
        u64 end = 0;
        for (u64 i = 0; i < count; ++i) {
            const Section& s = image.sections[i];
            if (s.in_file() && s.size && s.offset + s.size > end) end = s.offset + s.size;
        }
        return end;
    }
    static u64 guess_address(const Image& old, const Image& now, u64 index, const Section& was) {
        if (!was.loaded()) return was.address;
        for (u64 i = index; i-- > 0;) {
            const Section& p = now.sections[i];
            if (!p.loaded() || p.match < 0) continue;
            const Section& q = old.sections[static_cast<u64>(p.match)];
            // A thread's zeros take no addresses of the image.
            const u64 p_size = p.thread_local_zeros() ? 0 : p.size, q_size = q.thread_local_zeros() ? 0 : q.size;
            const u64 a = was.alignment && !(was.alignment & (was.alignment - 1)) ? was.alignment : 1;
            if (was.address == ((q.address + q_size + a - 1) & ~(a - 1))) return (p.address + p_size + a - 1) & ~(a - 1);
            // Another segment: it keeps its place in the page unless a page was filled.
            return was.address + (p.address - q.address);
        }
        return was.address;
    }
    static u64 guess_offset(const Image& old, const Image& now, u64 index, const Section& was, u64 address) {
        if (was.loaded() && was.in_file()) return address - was.address + was.offset;
        for (u64 i = index; i-- > 0;) {
            const Section& p = now.sections[i];
            if (p.match < 0) continue;
            const Section& q = old.sections[static_cast<u64>(p.match)];
            const u64 p_size = p.in_file() ? p.size : 0, q_size = q.in_file() ? q.size : 0;
            return start_after(q.offset + q_size, was.offset, p.offset + p_size, was.alignment);
        }
        return was.offset;
    }
    static void validate(const Image& now);

    Number count_, match_;
    Bit as_expected_{(1U << 22) - (1U << 17), 0}, plain_{1U << 21, 0}, all_tables_{(1U << 22) - (1U << 18), 0}, table_;
    std::array<Bit, kFields> same_{};
    std::array<Number, kFields> fields_{};
    u32 name_shift_ = 0;
};

}  // namespace suture
