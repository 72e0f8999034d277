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

}  // namespace suture
