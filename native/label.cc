#include "label.h"

#include <algorithm>

namespace suture {
namespace {

constexpr u64 kLabelled = 24;  // bytes at a target that make its label
constexpr u32 kNone = 0xFFFFFFFFU, kUnknown = 0x9e3779b9U;

u32 label_of(const std::vector<u8>& bytes, u64 at) {
    u64 h = 1469598103934665603ULL;
    const u64 end = std::min<u64>(bytes.size(), at + kLabelled);
    for (; at + 8 <= end; at += 8) h = (h ^ load<u64>(&bytes[at])) * 0x9E3779B97F4A7C15ULL, h ^= h >> 29;
    for (; at < end; ++at) h = (h ^ bytes[at]) * 1099511628211ULL;
    return static_cast<u32>(h >> 29);
}

struct Place {
    u32 position, target;  // in the stream; target kNone: no label
    u8 size;
    u8 kind;
};

}  // namespace

std::vector<u8> label_stream(View file, const Image& image, const Space& space, const Stream& stream, const Finder& finder) {
    std::vector<u8> bytes(stream.size());
    for (const Stream::Piece& p : stream.pieces()) std::memcpy(&bytes[p.position], file.data + p.offset, p.size);
    std::vector<Place> places;
    const auto position_of = [&](u64 address) -> u32 {
        const i64 offset = space.offset_of(address);
        const i64 position = offset < 0 ? -1 : stream.position_of(static_cast<u64>(offset));
        return position < 0 ? kNone : static_cast<u32>(position);
    };
    Finder::Cursor cursor(finder);
    u64 last = 0;
    for (cursor.seek(0); const Reference* r = cursor.peek(); cursor.advance()) {
        const i64 at = stream.position_of(r->offset);
        if (at < 0 || r->offset < last) continue;
        last = r->offset + r->size;
        places.push_back({static_cast<u32>(at), r->kind == kSlot || r->kind == kExtent ? kNone : position_of(r->target), r->size, static_cast<u8>(r->kind)});
        std::memset(&bytes[static_cast<u64>(at)], 0, r->size);
    }
    std::vector<u32> labels(places.size());
    const auto make = [&](bool second) {
        for (u64 i = 0; i < places.size(); ++i) {
            const Place& p = places[i];
            if (second && p.kind != kIndex24 && p.kind != kWord64) continue;
            labels[i] = p.kind == kExtent ? 0 : p.target == kNone ? kUnknown : label_of(bytes, p.target);
        }
        for (u64 i = 0; i < places.size(); ++i)
            if (!second || places[i].kind == kIndex24 || places[i].kind == kWord64) store<u32>(&bytes[places[i].position], labels[i]);
    };
    // Pointers that a relocation will write: their bytes in the file are mostly zeros.
    std::vector<std::pair<u32, u32>> written;
    const int symbols = image.find(".dynsym"), strings = image.find(".dynstr");
    for (const Section& s : image.sections) {
        if (s.type != 4 || !s.loaded()) continue;
        for (u64 at = s.offset; at + 24 <= s.offset + s.size; at += 24) {
            const u64 place = load<u64>(file.data + at), info = load<u64>(file.data + at + 8);
            const u32 position = position_of(place);
            if (position == kNone || position + 8ULL > bytes.size()) continue;
            u32 label = kUnknown;
            if (static_cast<u32>(info) == 8) {
                if (load<u64>(&bytes[position])) continue;
                const u32 target = position_of(load<u64>(file.data + at + 16));
                if (target == kNone) continue;
                label = label_of(bytes, target);
            } else if (symbols >= 0 && strings >= 0) {
                const u64 index = info >> 32;
                if ((index + 1) * 24 > image.sections[symbols].size) continue;
                const u64 name = load<u32>(file.data + image.sections[symbols].offset + 24 * index);
                u32 h = 5381;
                for (u64 k = name; k < image.sections[strings].size && k < name + 256; ++k) {
                    const u8 c = file.data[image.sections[strings].offset + k];
                    if (!c) break;
                    h = h * 33 + c;
                }
                label = h;
            }
            written.push_back({position, label});
        }
    }
    make(false);
    make(true);
    for (const auto& [position, label] : written) store<u32>(&bytes[position], label);
    return bytes;
}

}  // namespace suture
