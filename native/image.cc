#include "image.h"

#include <algorithm>

namespace suture {

Space::Space(const Image& image) {
    for (const Section& s : image.sections)
        if (s.mapped()) by_address_.push_back({s.virtual_address, s.offset, s.size});
    by_offset_ = by_address_;
    std::stable_sort(by_address_.begin(), by_address_.end(), [](auto& a, auto& b) { return a.address < b.address; });
    std::stable_sort(by_offset_.begin(), by_offset_.end(), [](auto& a, auto& b) { return a.offset < b.offset; });
}

i64 Space::offset_of(u64 address) const {
    const auto& list = by_address_;
    u64 i = last_address_;
    // Neighbouring questions mostly fall into one section.
    if (!(i < list.size() && list[i].address <= address && (i + 1 == list.size() || address < list[i + 1].address))) {
        const auto it = std::upper_bound(list.begin(), list.end(), address, [](u64 a, auto& e) { return a < e.address; });
        if (it == list.begin()) return -1;
        i = static_cast<u64>(it - list.begin()) - 1;
        last_address_ = i;
    }
    const Entry& e = list[i];
    return address - e.address < e.size ? static_cast<i64>(e.offset + (address - e.address)) : -1;
}

u64 Space::address_of(u64 offset) const {
    const auto& list = by_offset_;
    u64 i = last_offset_;
    if (!(i < list.size() && list[i].offset <= offset && (i + 1 == list.size() || offset < list[i + 1].offset))) {
        const auto it = std::upper_bound(list.begin(), list.end(), offset, [](u64 o, auto& e) { return o < e.offset; });
        if (it == list.begin()) return offset;
        i = static_cast<u64>(it - list.begin()) - 1;
        last_offset_ = i;
    }
    return list[i].address + (offset - list[i].offset);
}

namespace {

constexpr u64 kHeader = 64, kProgram = 56, kSectionHeader = 64;  // bytes, ELF-64
constexpr u32 kMostSections = 4096;
constexpr u64 kHighestAddress = 1ULL << 43;

bool read_sections(View file, u64 at, u32 count, u32 names, Image& image) {
    if (count < 2 || count > kMostSections || names >= count || !file.holds(at, count * kSectionHeader)) return false;
    for (u32 i = 0; i < count; ++i) {
        const u8* p = file.data + at + i * kSectionHeader;
        Section s;
        s.name = load<u32>(p);
        s.type = load<u32>(p + 4);
        s.flags = load<u64>(p + 8);
        s.address = load<u64>(p + 16);
        s.offset = load<u64>(p + 24);
        s.size = load<u64>(p + 32);
        s.link = load<u32>(p + 40);
        s.info = load<u32>(p + 44);
        s.alignment = load<u64>(p + 48);
        s.entry_size = load<u64>(p + 56);
        if (s.in_file() && s.size && !file.holds(s.offset, s.size)) return false;
        if (s.address >= kHighestAddress || s.size >= kHighestAddress) return false;
        s.virtual_address = s.loaded() || !s.in_file() || !s.size ? s.address : Section::kUnloaded + s.offset;
        image.sections.push_back(s);
    }
    const Section& text = image.sections[names];
    if (!text.in_file() || !text.size) return false;
    for (Section& s : image.sections) {
        if (s.name >= text.size) return false;
        const char* start = reinterpret_cast<const char*>(file.data + text.offset + s.name);
        const void* end = std::memchr(start, 0, text.size - s.name);
        if (!end) return false;
        s.label = {start, static_cast<u64>(static_cast<const char*>(end) - start)};
    }
    return true;
}

bool read_segments(View file, u64 at, u32 count, Image& image) {
    if (!count || !file.holds(at, count * kProgram)) return false;
    image.range = {~0ULL, 0};
    for (u32 i = 0; i < count; ++i) {
        const u8* p = file.data + at + i * kProgram;
        if (load<u32>(p) != 1) continue;  // PT_LOAD
        const u64 address = load<u64>(p + 16), size = load<u64>(p + 40);
        if (address >= kHighestAddress || size >= kHighestAddress) return false;
        image.range.begin = std::min(image.range.begin, address);
        image.range.end = std::max(image.range.end, address + size);
    }
    return image.range.begin < image.range.end;
}

}  // namespace

bool parse_elf(View file, Image& image) {
    static constexpr u8 kMagic[7] = {0x7f, 'E', 'L', 'F', 2, 1, 1};  // 64 bit, little-endian, version 1
    if (file.size < kHeader || std::memcmp(file.data, kMagic, 7) != 0) return false;
    const u16 type = load<u16>(file.data + 16), machine = load<u16>(file.data + 18);
    if ((type != 2 && type != 3) || machine != 62) return false;
    if (load<u16>(file.data + 54) != kProgram || load<u16>(file.data + 58) != kSectionHeader) return false;
    image.size = file.size;
    image.fixed = type == 2;
    image.headers_offset = load<u64>(file.data + 40);
    const u32 count = load<u16>(file.data + 60);
    if (!read_sections(file, image.headers_offset, count, load<u16>(file.data + 62), image)) return false;
    return read_segments(file, load<u64>(file.data + 32), load<u16>(file.data + 56), image);
}

}  // namespace suture
