#include "finder.h"

#include <algorithm>

namespace suture {
namespace {

constexpr u32 kRelaType = 4, kDynsymType = 11, kSymtabType = 2, kRelrType = 19, kProgbits = 1;
constexpr u32 kRelative = 8;  // R_X86_64_RELATIVE
constexpr u32 kMostTableEntries = 16384;
constexpr u64 kSpread = 1ULL << 20;  // of a table without evidence: how far its targets lie from the first

bool is_words(const Section& s) {
    return s.label == ".data" || s.label == ".data.rel.ro" || s.label == ".init_array" || s.label == ".fini_array" ||
           s.label == ".got" || s.label == ".got.plt" || s.label == ".tdata" || s.label == ".noptrdata" || s.label == ".itablink";
}

// Debugging information: addresses at any place.
bool is_loose(const Section& s) {
    return s.label == ".debug_info" || s.label == ".debug_loc" || s.label == ".debug_ranges" || s.label == ".debug_aranges" ||
           s.label == ".debug_line" || s.label == ".debug_addr";
}

}  // namespace

Finder::Finder(View file, const Image& image, const Space& space) : file_(file), image_(image), space_(space) {
    rodata_ = image.find(".rodata");
    text_ = image.find(".text");
    plt_slots_ = image.find(".rela.plt");
    symbols_ = image.find(".dynsym");
    for (u64 i = 0; i < image.sections.size(); ++i) {
        const Section& s = image.sections[i];
        if (!s.in_file() || !s.size) continue;
        Region r{s.offset, s.offset + s.size, Class::kCode, static_cast<u32>(i), 0};
        if (s.code()) {
        } else if (static_cast<int>(i) == image.find(".eh_frame") && s.loaded()) {
            r.what = Class::kUnwind;
        } else if (s.type == kDynsymType || s.type == kSymtabType) {
            r.what = Class::kSymbols;
        } else if (s.label == ".rela.plt" && s.type == kRelaType) {
            r.what = Class::kSlots;
        } else if (is_words(s) || (image.fixed && static_cast<int>(i) == rodata_)) {
            r.what = Class::kWords;
        } else if (static_cast<int>(i) == rodata_) {
            r.what = Class::kTables;
        } else if (is_loose(s)) {
            r.what = Class::kLoose;
        } else if (s.label == ".dynamic") {
            r.what = Class::kDynamic;
        } else {
            continue;
        }
        regions_.push_back(r);
    }
    std::stable_sort(regions_.begin(), regions_.end(), [](auto& a, auto& b) { return a.begin < b.begin; });
    // Overlapping sections: the later one has no references.
    u64 end = 0;
    std::vector<Region> kept;
    for (const Region& r : regions_) {
        if (r.begin < end) continue;
        kept.push_back(r);
        end = r.end;
    }
    regions_ = std::move(kept);
    if (rodata_ >= 0 && !image.fixed) named_.resize(image.sections[rodata_].size / 256 + 1);
    for (Region& r : regions_) {
        if (r.what == Class::kCode) sweep(r);
        if (r.what == Class::kUnwind) walk_unwind(r);
        if (r.what == Class::kLoose) sweep_loose(r);
        if (r.what == Class::kWords) {
            r.data = words_.size() * 64;
            if (!image.fixed) words_.resize(words_.size() + (r.end - r.begin) / 512 + 1);
        }
    }
    if (!image.fixed) {
        if (rodata_ >= 0 && text_ >= 0) find_tables();
        mark_words();
    }
    evident_ = {};
    named_ = {};
}

void Finder::sweep(Region& region) {
    const Section& s = image_.sections[region.section];
    const bool tables = !named_.empty();
    const Section* const rodata = tables ? &image_.sections[rodata_] : nullptr;
    region.data = syncs_.size();
    syncs_.resize(syncs_.size() + (s.size + kGranule - 1) / kGranule, 0);
    const u8* const begin = file_.data + s.offset;
    const u8* const end = begin + s.size;
    u64 granule = 0, number = 0;
    recent_ = {};
    recent_next_ = 0;
    for (const u8* at = begin; at < end; ++number) {
        const u64 distance = static_cast<u64>(at - begin);
        if (distance >= granule * kGranule) {
            syncs_[region.data + granule] = static_cast<u8>(distance - granule * kGranule);
            ++granule;
        }
        const Instruction i = decode_instruction(at, end);
        if (tables) {
            if (i.rip) {
                const u64 target = s.virtual_address + distance + i.length + static_cast<u64>(static_cast<i64>(load<i32>(at + i.rip)));
                const u64 place = target - rodata->virtual_address;
                if (place < rodata->size && !(target & 3) && in_image(target)) {
                    named_[place >> 8] |= 1ULL << (place >> 2 & 63);
                    if (i.lea_rip) recent_[recent_next_++ & 7] = {target, number};
                }
            } else if (i.table_load) {
                for (const Recent& r : recent_)
                    if (r.target && number - r.number < 12) evident_.push_back(r.target);
            }
        }
        at += i.length;
    }
    // A section whose last instruction runs over a granule's begin.
    for (; granule * kGranule < s.size; ++granule) syncs_[region.data + granule] = 255;
}

// Whether eight bytes at any place are an address: of a fixed image, any; of another, one in .text.
bool Finder::loose_word(u64 at, u64 end) const {
    if (end - at < 8) return false;
    const u64 value = load<u64>(file_.data + at);
    if (image_.fixed) return value >= image_.range.begin + 0x1000 && value < image_.range.end;
    return text_ >= 0 && value - image_.sections[text_].virtual_address < image_.sections[text_].size;
}

void Finder::sweep_loose(Region& region) {
    region.data = syncs_.size();
    u64 granule = 0;
    for (u64 at = region.begin; at < region.end; at += loose_word(at, region.end) ? 8 : 1) {
        const u64 distance = at - region.begin;
        if (distance >= granule * kGranule) {
            syncs_.push_back(static_cast<u8>(distance - granule * kGranule));
            ++granule;
        }
    }
    for (; granule * kGranule < region.end - region.begin; ++granule) syncs_.push_back(255);
}

void Finder::find_tables() {
    std::sort(evident_.begin(), evident_.end());
    evident_.erase(std::unique(evident_.begin(), evident_.end()), evident_.end());
    const Section &ro = image_.sections[rodata_], &text = image_.sections[text_];
    const u64 base_address = ro.virtual_address;
    for (u64 t : evident_) named_[(t - base_address) >> 8] |= 1ULL << ((t - base_address) >> 2 & 63);
    const auto named = [&](u64 place) { return named_[place >> 8] >> (place >> 2 & 63) & 1; };
    // The words that are aligned as addresses are.
    const u64 skew = (0 - base_address) & 3;
    u64 next_evident = 0;
    for (u64 block = 0; block < named_.size(); ++block) {
        if (!named_[block]) continue;
        for (u64 bit = 0; bit < 64; ++bit) {
            if (!(named_[block] >> bit & 1)) continue;
            const u64 first = (block << 8) + (bit << 2) + skew;
            const u64 base = base_address + first;
            while (next_evident < evident_.size() && evident_[next_evident] < base) ++next_evident;
            const bool evident = next_evident < evident_.size() && evident_[next_evident] == base;
            u64 first_target = 0;
            u32 count = 0;
            for (u64 place = first; place + 4 <= ro.size && count < kMostTableEntries; place += 4, ++count) {
                if (place != first && named(place)) break;
                const u64 target = base + static_cast<u64>(static_cast<i64>(load<i32>(file_.data + ro.offset + place)));
                const bool in_text = target - text.virtual_address < text.size;
                const bool in_rodata = target - base_address < ro.size;
                if (!in_text && !(evident && in_rodata)) break;
                if (!count) first_target = target;
                const u64 spread = target > first_target ? target - first_target : first_target - target;
                if (!evident && spread > kSpread) break;
            }
            if (count && (evident || count >= 4)) jump_tables_.push_back({ro.offset + first, base, count});
        }
    }
}

void Finder::walk_unwind(Region& region) {
    region.data = marks_.size();
    u64 at = region.begin, number = 0;
    while (at + 4 <= region.end) {
        const u32 length = load<u32>(file_.data + at);
        if (length == 0xFFFFFFFFU || length > region.end - at - 4) break;
        if (number++ % 64 == 0) marks_.push_back(static_cast<u32>(at - region.begin));
        at += 4 + length;
    }
    region.end = at;
}

void Finder::mark(u64 address) {
    const i64 offset = space_.offset_of(address);
    if (offset <= 0 || offset & 7) return;
    const u64 at = static_cast<u64>(offset);
    auto it = std::upper_bound(regions_.begin(), regions_.end(), at, [](u64 o, auto& r) { return o < r.begin; });
    if (it == regions_.begin()) return;
    --it;
    if (it->what != Class::kWords || at + 8 > it->end) return;
    const u64 bit = it->data + (at - (it->begin & ~7ULL)) / 8;
    words_[bit >> 6] |= 1ULL << (bit & 63);
}

void Finder::mark_words() {
    for (const Section& s : image_.sections) {
        if (!s.in_file()) continue;
        const bool slots = s.label == ".rela.plt";
        if (s.type == kRelaType && (slots || s.label == ".rela.dyn")) {
            for (u64 at = s.offset; at + 24 <= s.offset + s.size; at += 24)
                if (slots || load<u32>(file_.data + at + 8) == kRelative) mark(load<u64>(file_.data + at));
        } else if (s.type == kRelrType) {
            // Generic ABI, SHT_RELR: an even word is an address, an odd one a bit field of the 63 words after it.
            u64 where = 0;
            for (u64 at = s.offset; at + 8 <= s.offset + s.size; at += 8) {
                const u64 entry = load<u64>(file_.data + at);
                if (!(entry & 1)) {
                    mark(entry);
                    where = entry + 8;
                } else {
                    for (u64 i = 0; i < 63; ++i)
                        if (entry >> (i + 1) & 1) mark(where + 8 * i);
                    where += 63 * 8;
                }
            }
        }
    }
}

bool Finder::is_code(u64 offset) const {
    const auto it = std::upper_bound(regions_.begin(), regions_.end(), offset, [](u64 o, auto& r) { return o < r.begin; });
    return it != regions_.begin() && (it - 1)->what == Class::kCode && offset < (it - 1)->end;
}

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
