// The reference finder, version 1: what one instruction or entry holds, and the walk over them in the order of the file.
#include <algorithm>

#include "finder.h"

namespace suture {

void Finder::code_references(const Instruction& i, u64 offset, const Section& s, bool plt, std::array<Reference, 4>& out,
                             u32& n) const {
    const u8* const at = file_.data + offset;
    const u64 next = s.virtual_address + (offset - s.offset) + i.length;
    // Fields lie in this order: displacement, then branch or immediate.
    if (i.rip) {
        const u64 target = next + static_cast<u64>(static_cast<i64>(load<i32>(at + i.rip)));
        if (in_image(target)) out[n++] = {offset + i.rip, next, target, 4, kRipRelative};
    }
    if (i.absolute && image_.fixed) {
        const u64 value = load<u32>(at + i.absolute);
        if (value >= image_.range.begin + 0x1000 && value < image_.range.end) out[n++] = {offset + i.absolute, 0, value, 4, kWord32};
    }
    if (i.relative) {
        const u64 target = next + static_cast<u64>(static_cast<i64>(load<i32>(at + i.relative)));
        if (in_image(target)) out[n++] = {offset + i.relative, next, target, 4, kBranch};
    }
    if (i.immediate) {
        const u64 value = load<u32>(at + i.immediate);
        if (plt && i.opcode == 0x68) {
            const Section& slots = image_.sections[plt_slots_];
            if (value * 24 < slots.size)
                out[n++] = {offset + i.immediate, slots.virtual_address, slots.virtual_address + 24 * value, 4, kIndex24};
        } else if (image_.fixed && value >= image_.range.begin + 0x1000 && value < image_.range.end) {
            out[n++] = {offset + i.immediate, 0, value, 4, kWord32};
        }
    }
}

void Finder::unwind_references(u64 at, const Section& s, std::array<Reference, 4>& out, u32& n) const {
    const u32 length = load<u32>(file_.data + at);
    if (length < 4) return;
    const u8* const p = file_.data + at;
    const u32 back = load<u32>(p + 4);
    const u64 address = s.virtual_address + (at - s.offset);
    const u8* const end = p + 4 + length;
    const auto displacement = [&](u64 skip, bool nonzero) {
        const i32 value = load<i32>(p + skip);
        const u64 target = address + skip + static_cast<u64>(static_cast<i64>(value));
        if (in_image(target) && (value || !nonzero)) out[n++] = {at + skip, address + skip, target, 4, kUnwind};
    };
    // What a CIE says of its FDEs: the encodings of pc and of the language-specific pointer; and where its own personality
    // pointer lies. LSB "Exception Frames"; only augmentation strings that begin with z.
    struct Encodings {
        u8 pc = 0, language = 0xFF;
        u64 personality = 0;
    };
    const auto read_cie = [](const u8* cie, const u8* stop) {
        Encodings e;
        const u8* q = cie + 9;
        const u8* const augmentation = q;
        while (q < stop && *q) ++q;
        if (q >= stop || *augmentation != 'z') return e;
        const u8* const augmentation_end = q++;
        for (int i = 0; i < 4; ++i) {  // alignment factors, return register, augmentation length
            while (q < stop && (*q & 128)) ++q;
            ++q;
        }
        for (const u8* a = augmentation + 1; a < augmentation_end && q < stop; ++a) {
            if (*a == 'L') {
                e.language = *q++;
            } else if (*a == 'R') {
                e.pc = *q++;
            } else if (*a == 'P') {
                const u8 encoding = *q++;
                if ((encoding & 15) == 0xb) {
                    if (stop - q >= 4 && encoding & 0x10) e.personality = static_cast<u64>(q - cie);
                    q += 4;
                } else {
                    q += 8;
                }
            }
        }
        return e;
    };
    if (back == 0) {
        if (length < 9) return;
        const Encodings e = read_cie(p, end);
        if (e.personality) displacement(e.personality, false);
        return;
    }
    const u64 here = at + 4;
    out[n++] = {here, address + 4, address + 4 - back, 4, kUnwindBack};
    if (back > here - s.offset) return;
    const u64 cie = here - back;
    const u32 cie_length = load<u32>(file_.data + cie);
    if (cie_length < 9 || cie_length > s.offset + s.size - cie - 4 || load<u32>(file_.data + cie + 4) != 0) return;
    const Encodings e = read_cie(file_.data + cie, file_.data + cie + 4 + cie_length);
    if (e.pc != 0x1b || length < 12) return;
    displacement(8, false);
    const u64 start = address + 8 + static_cast<u64>(static_cast<i64>(load<i32>(p + 8)));
    const u32 extent = load<u32>(p + 12);
    if (in_image(start) && extent && in_image(start + extent - 1)) out[n++] = {at + 12, start, start + extent, 4, kExtent};
    if (e.language == 0x1b && length >= 17 && p[16] == 4) displacement(17, true);
}

void Finder::symbol_references(u64 at, const Section& s, std::array<Reference, 4>& out, u32& n) const {
    const u8* const p = file_.data + at;
    const u32 name = load<u32>(p);
    if (name && s.link < image_.sections.size()) {
        const Section& strings = image_.sections[s.link];
        if (strings.in_file() && name < strings.size)
            out[n++] = {at, strings.virtual_address, strings.virtual_address + name, 4, kStringIndex};
    }
    const u64 value = load<u64>(p + 8), size = load<u64>(p + 16);
    const u16 section = load<u16>(p + 6);
    if (!value || !section || section >= 0xFF00 || (p[4] & 15) == 6 || !in_image(value)) return;  // 6: STT_TLS
    out[n++] = {at + 8, 0, value, 8, kWord64};
    if (size && size < 1ULL << 32 && in_image(value + size - 1)) out[n++] = {at + 16, value, value + size, 8, kExtent};
}

void Finder::slot_references(u64 at, std::array<Reference, 4>& out, u32& n) const {
    out[n++] = {at, 0, load<u64>(file_.data + at), 8, kSlot};
    if (symbols_ < 0) return;
    const Section& table = image_.sections[symbols_];
    const u64 index = load<u32>(file_.data + at + 12);
    if (index && index * 24 < table.size) out[n++] = {at + 12, table.virtual_address, table.virtual_address + 24 * index, 4, kIndex24};
}

void Finder::word_reference(u64 at, std::array<Reference, 4>& out, u32& n) const {
    const u64 value = load<u64>(file_.data + at);
    if (!value || !in_image(value) || (image_.fixed && value < image_.range.begin + 0x1000)) return;
    out[n++] = {at, 0, value, 8, kWord64};
}

// Generic ABI, "Dynamic Section": the entries that hold an address.
void Finder::dynamic_reference(u64 at, std::array<Reference, 4>& out, u32& n) const {
    const u64 tag = load<u64>(file_.data + at), value = load<u64>(file_.data + at + 8);
    const bool address = (tag >= 3 && tag <= 7) || tag == 12 || tag == 13 || tag == 23 || tag == 25 || tag == 26 || tag == 32 || tag == 36 ||
                         (tag >= 0x6ffffef5 && tag <= 0x6ffffeff) || tag == 0x6ffffff0 || tag == 0x6ffffffc || tag == 0x6ffffffe;
    if (address && in_image(value)) out[n++] = {at + 8, 0, value, 8, kWord64};
}

bool Finder::Cursor::enter(u64 region, u64 offset) {
    region_ = region;
    if (region >= finder_.regions_.size()) return false;
    const Region& r = finder_.regions_[region];
    at_ = r.begin;
    if (offset <= r.begin) offset = r.begin;
    const u64 distance = offset - r.begin;
    switch (r.what) {
        case Class::kLoose:
        case Class::kCode: {
            // An instruction has at most 31 bytes as the decoder reads it; one granule back is more than enough.
            u64 granule = (distance < 64 ? 0 : distance - 64) / kGranule;
            while (granule && finder_.syncs_[r.data + granule] == 255) --granule;
            at_ = r.begin + granule * kGranule + finder_.syncs_[r.data + granule];
            break;
        }
        case Class::kTables: {
            const auto& list = finder_.jump_tables_;
            const auto it = std::upper_bound(list.begin(), list.end(), offset, [](u64 o, auto& t) { return o < t.offset; });
            table_ = static_cast<u64>(it - list.begin());
            if (table_) --table_;
            at_ = 0;  // entries of the table given so far
            if (table_ < list.size() && offset > list[table_].offset) at_ = std::min<u64>(list[table_].count, (offset - list[table_].offset) / 4);
            break;
        }
        case Class::kUnwind: {
            u64 low = r.data, high = finder_.marks_.size();
            while (high - low > 1) {
                const u64 middle = (low + high) / 2;
                (finder_.marks_[middle] <= distance ? low : high) = middle;
            }
            if (low < finder_.marks_.size()) at_ = r.begin + finder_.marks_[low];
            break;
        }
        case Class::kSymbols:
        case Class::kSlots:
            at_ = r.begin + distance / 24 * 24;
            break;
        case Class::kDynamic:
            at_ = r.begin + distance / 16 * 16;
            break;
        case Class::kWords:
            at_ = (r.begin + 7) & ~7ULL;
            if (offset > at_) at_ = offset & ~7ULL;
            break;
    }
    return true;
}

void Finder::Cursor::seek(u64 offset) {
    const auto& list = finder_.regions_;
    const auto it = std::upper_bound(list.begin(), list.end(), offset, [](u64 o, auto& r) { return o < r.end; });
    next_ = count_ = 0;
    if (!enter(static_cast<u64>(it - list.begin()), offset)) return;
    refill();
    while (next_ < count_ && queue_[next_].offset < offset) advance();
}

void Finder::Cursor::refill() {
    next_ = count_ = 0;
    while (region_ < finder_.regions_.size()) {
        const Region& r = finder_.regions_[region_];
        const Section& s = finder_.image_.sections[r.section];
        switch (r.what) {
            case Class::kCode: {
                const u8* const end = finder_.file_.data + r.end;
                const bool plt = finder_.plt_slots_ >= 0 && s.label == ".plt";
                while (at_ < r.end) {
                    const Instruction i = decode_instruction(finder_.file_.data + at_, end);
                    const u64 here = at_;
                    at_ += i.length;
                    if (i.rip | i.relative | i.immediate | i.absolute) {
                        finder_.code_references(i, here, s, plt, queue_, count_);
                        if (count_) return;
                    }
                }
                break;
            }
            case Class::kTables:
                for (; table_ < finder_.jump_tables_.size(); ++table_, at_ = 0) {
                    const JumpTable& t = finder_.jump_tables_[table_];
                    if (at_ >= t.count) continue;
                    const u64 offset = t.offset + 4 * at_++;
                    const u64 target = t.base + static_cast<u64>(static_cast<i64>(load<i32>(finder_.file_.data + offset)));
                    queue_[count_++] = {offset, t.base, target, 4, kJumpTable};
                    return;
                }
                break;
            case Class::kUnwind:
                while (at_ + 4 <= r.end) {
                    const u64 here = at_;
                    at_ += 4 + load<u32>(finder_.file_.data + here);
                    finder_.unwind_references(here, s, queue_, count_);
                    if (count_) return;
                }
                break;
            case Class::kSymbols:
            case Class::kSlots:
                while (at_ + 24 <= r.end) {
                    const u64 here = at_;
                    at_ += 24;
                    if (r.what == Class::kSymbols) finder_.symbol_references(here, s, queue_, count_);
                    else finder_.slot_references(here, queue_, count_);
                    if (count_) return;
                }
                break;
            case Class::kLoose:
                while (at_ < r.end) {
                    const u64 here = at_;
                    if (!finder_.loose_word(here, r.end)) {
                        ++at_;
                        continue;
                    }
                    at_ += 8;
                    queue_[count_++] = {here, 0, load<u64>(finder_.file_.data + here), 8, kWord64};
                    return;
                }
                break;
            case Class::kDynamic:
                while (at_ + 16 <= r.end) {
                    const u64 here = at_;
                    at_ += 16;
                    finder_.dynamic_reference(here, queue_, count_);
                    if (count_) return;
                }
                break;
            case Class::kWords:
                while (at_ + 8 <= r.end) {
                    const u64 here = at_;
                    at_ += 8;
                    if (!finder_.image_.fixed) {
                        const u64 bit = r.data + (here - (r.begin & ~7ULL)) / 8;
                        if (!(finder_.words_[bit >> 6] >> (bit & 63) & 1)) {
                            // Skips words without marks 64 at a time.
                            if (!(bit & 63) && !finder_.words_[bit >> 6]) at_ += 63 * 8;
                            continue;
                        }
                    }
                    finder_.word_reference(here, queue_, count_);
                    if (count_) return;
                }
                break;
        }
        enter(region_ + 1, 0);
    }
}

}  // namespace suture
