#include "tables.h"

#include <algorithm>

namespace suture {
namespace {

constexpr u32 kUnwindHeaderStart = 0x3b031b01;  // version 1; pcrel sdata4, udata4, datarel sdata4
constexpr u64 kLargestHoisted = 32ULL << 20;

bool relocations_in_order(View file, const Section& s) {
    u64 last = 0;
    for (u64 at = s.offset; at + 24 <= s.offset + s.size; at += 24) {
        if (load<u32>(file.data + at + 8) != 8) break;  // R_X86_64_RELATIVE come first
        const u64 place = load<u64>(file.data + at);
        if (place < last) return false;
        last = place;
    }
    return true;
}

}  // namespace

void find_tables(View file, Image& image) {
    const auto span_of = [&](std::string_view label) -> Span {
        const int i = image.find(label);
        if (i < 0 || !image.sections[i].in_file() || !image.sections[i].loaded() || !image.sections[i].size) return {};
        return {image.sections[i].offset, image.sections[i].offset + image.sections[i].size};
    };
    const Span rela = span_of(".rela.dyn");
    if (rela.size() && rela.size() % 24 == 0 && image.sections[image.find(".rela.dyn")].type == 4 &&
        relocations_in_order(file, image.sections[image.find(".rela.dyn")]))
        image.tables[kRela] = rela;
    const Span header = span_of(".eh_frame_hdr");
    const Span unwind = span_of(".eh_frame");
    if (header.size() >= 12 && unwind.size() && unwind.size() <= kLargestHoisted && load<u32>(file.data + header.begin) == kUnwindHeaderStart)
        image.tables[kUnwindHeader] = header;
    const Span hash = span_of(".gnu.hash"), symbols = span_of(".dynsym"), strings = span_of(".dynstr");
    HashShape shape;
    if (hash.size() && symbols.size() && strings.size() && symbols.size() + strings.size() <= kLargestHoisted &&
        read_hash_shape({file.data + hash.begin, hash.size()}, shape))
        image.tables[kSymbolHash] = hash;
    const u64 headers = image.headers_offset;
    image.tables[kSectionHeaders] = {headers, headers + 64 * image.sections.size()};
    // Overlapping ones are plain bytes.
    for (int t = 0; t < kTables; ++t)
        for (int k = 0; k < t; ++k) {
            Span &a = image.tables[t], &b = image.tables[k];
            if (a.size() && b.size() && a.begin < b.end && b.begin < a.end) a = {};
        }
}

std::vector<u8> build_unwind_header(View unwind, u64 unwind_address, u64 header_address, u64 size) {
    std::vector<u64> entries;  // pc above, FDE below: sorted as pairs of signed words
    const auto key = [](u64 pc, u64 fde) { return ((pc & 0xFFFFFFFFU) << 32 ^ 1ULL << 63) | ((fde & 0xFFFFFFFFU) ^ 0x80000000U); };
    for (u64 at = 0; at + 4 <= unwind.size;) {
        const u32 length = load<u32>(unwind.data + at);
        if (length && (length > unwind.size - at - 4 || length < 8)) break;
        if (length && load<u32>(unwind.data + at + 4)) {
            const u64 pc = unwind_address + at + 8 + static_cast<u64>(static_cast<i64>(load<i32>(unwind.data + at + 8)));
            entries.push_back(key(pc - header_address, unwind_address + at - header_address));
        }
        at += 4 + static_cast<u64>(length);
    }
    std::sort(entries.begin(), entries.end());
    std::vector<u8> out(std::max<u64>(size, 12 + 8 * entries.size()));
    store<u32>(&out[0], kUnwindHeaderStart);
    store<u32>(&out[4], static_cast<u32>(unwind_address - (header_address + 4)));
    store<u32>(&out[8], static_cast<u32>(entries.size()));
    for (u64 i = 0; i < entries.size(); ++i) {
        store<u32>(&out[12 + 8 * i], static_cast<u32>(entries[i] >> 32) ^ 0x80000000U);
        store<u32>(&out[16 + 8 * i], static_cast<u32>(entries[i]) ^ 0x80000000U);
    }
    out.resize(size);
    return out;
}

bool read_hash_shape(View table, HashShape& shape) {
    if (table.size < 16) return false;
    shape = {load<u32>(table.data), load<u32>(table.data + 4), load<u32>(table.data + 8), load<u32>(table.data + 12)};
    return shape.buckets && shape.bloom_words && shape.bloom_shift < 32;
}

std::vector<u8> build_symbol_hash(const HashShape& shape, View symbols, View strings, u64 size) {
    std::vector<u8> out(size);
    const u64 count = symbols.size / 24;
    const u64 bloom = 16, buckets = bloom + 8ULL * shape.bloom_words, chains = buckets + 4ULL * shape.buckets;
    if (size < 16 || shape.first_symbol > count || !shape.buckets || !shape.bloom_words || shape.bloom_shift > 31 ||
        chains + 4 * (count - shape.first_symbol) > size)
        return out;
    store<u32>(&out[0], shape.buckets);
    store<u32>(&out[4], shape.first_symbol);
    store<u32>(&out[8], shape.bloom_words);
    store<u32>(&out[12], shape.bloom_shift);
    u32 previous_bucket = ~0U;
    u64 budget = 16 * strings.size;  // names may share bytes, but the work stays linear
    for (u64 i = shape.first_symbol; i < count; ++i) {
        u32 h = 5381;
        for (u64 at = load<u32>(symbols.data + 24 * i); at < strings.size && strings.data[at]; ++at) {
            if (!budget--) return std::vector<u8>(size);
            h = h * 33 + strings.data[at];
        }
        const u64 word = bloom + 8 * (h / 64 % shape.bloom_words);
        store<u64>(&out[word], load<u64>(&out[word]) | 1ULL << (h % 64) | 1ULL << ((h >> shape.bloom_shift) % 64));
        const u32 bucket = h % shape.buckets;
        const u64 chain = chains + 4 * (i - shape.first_symbol);
        if (bucket != previous_bucket) {
            store<u32>(&out[buckets + 4ULL * bucket], static_cast<u32>(i));
            if (previous_bucket != ~0U) out[chain - 4] |= 1;
        }
        store<u32>(&out[chain], h & ~1U);
        if (i + 1 == count) out[chain] |= 1;
        previous_bucket = bucket;
    }
    return out;
}

std::vector<u8> build_section_headers(const Image& image) {
    std::vector<u8> out(64 * image.sections.size());
    u8* p = out.data();
    for (const Section& s : image.sections) {
        store<u32>(p, s.name);
        store<u32>(p + 4, s.type);
        store<u64>(p + 8, s.flags);
        store<u64>(p + 16, s.address);
        store<u64>(p + 24, s.offset);
        store<u64>(p + 32, s.size);
        store<u32>(p + 40, s.link);
        store<u32>(p + 44, s.info);
        store<u64>(p + 48, s.alignment);
        store<u64>(p + 56, s.entry_size);
        p += 64;
    }
    return out;
}

}  // namespace suture
