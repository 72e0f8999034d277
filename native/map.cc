#include "map.h"

#include <algorithm>

namespace suture {

AddressMap::AddressMap(const Image& old_image, const Image& new_image, const Space& old_space, const Space& new_space,
                       const Stream& old_stream, const Stream& new_stream, const std::vector<Block>& blocks)
    : new_image_(new_image),
      old_image_(old_image),
      old_space_(old_space),
      new_space_(new_space),
      old_stream_(old_stream),
      new_stream_(new_stream) {
    // Where blocks copy the same old bytes, the longer one says where they went; of equal ones the earlier.
    std::vector<u32> order(blocks.size());
    for (u32 i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](u32 a, u32 b) { return blocks[a].size != blocks[b].size ? blocks[a].size > blocks[b].size : a < b; });
    std::map<u32, std::pair<u32, i64>> taken;  // begin: end, shift
    for (u32 i : order) {
        const Block& b = blocks[i];
        u32 begin = b.from;
        const u32 end = b.from + b.size;
        const i64 shift = static_cast<i64>(b.to) - b.from;
        auto it = taken.upper_bound(begin);
        if (it != taken.begin()) begin = std::max(begin, std::prev(it)->second.first);
        while (begin < end) {
            const u32 limit = it == taken.end() ? end : std::min(end, it->first);
            if (begin < limit) taken.emplace_hint(it, begin, std::pair{limit, shift});
            if (it == taken.end() || it->first >= end) break;
            begin = it->second.first;
            ++it;
        }
    }
    moves_.reserve(taken.size());
    for (const auto& [begin, what] : taken) moves_.push_back({begin, what.first, what.second});
    starts_.resize((old_stream.size() >> 16) + 2);
    u32 k = 0;
    for (u64 i = 0; i < starts_.size(); ++i) {
        while (k < moves_.size() && moves_[k].end <= i << 16) ++k;
        starts_[i] = k;
    }
    section_shift_.resize(old_image.sections.size());
    section_known_.resize(old_image.sections.size());
    for (const Section& s : new_image.sections) {
        if (s.match < 0 || section_known_[s.match]) continue;
        section_known_[s.match] = 1;
        section_shift_[s.match] = static_cast<i64>(s.virtual_address - old_image.sections[s.match].virtual_address);
    }
}

// The block that holds the address, else the last one before it, with the distance from its end.
Prediction AddressMap::of_block(u64 address, u64& distance) const {
    distance = 0;
    const i64 offset = old_space_.offset_of(address);
    if (offset < 0) return {0, kLearnt};
    const i64 position = old_stream_.position_of(static_cast<u64>(offset));
    if (position < 0) return {0, kLearnt};
    u64 i = starts_[static_cast<u64>(position) >> 16];
    while (i < moves_.size() && static_cast<i64>(moves_[i].end) <= position) ++i;
    bool inside = i < moves_.size() && static_cast<i64>(moves_[i].begin) <= position;
    if (!inside) {
        if (!i) return {0, kLearnt};
        --i;
        distance = static_cast<u64>(position) - moves_[i].end + 1;
    }
    const i64 to = position + moves_[i].shift;
    if (to < 0 || static_cast<u64>(to) >= new_stream_.size()) return {0, kLearnt};
    return {new_space_.address_of(new_stream_.offset_of(static_cast<u64>(to))), inside ? kCertain : kGuessed};
}

Prediction AddressMap::operator()(u64 address) const {
    if (const u64* known = lessons_.find(address)) return {*known, kLearnt};
    u64 distance = 0;
    const Prediction block = of_block(address, distance);  // kLearnt: none
    if (block.certainty == kCertain) return block;
    auto it = guesses_.upper_bound(address);
    if (it != guesses_.begin()) {
        --it;
        if (block.certainty != kGuessed || address - it->first < distance) return {address + it->second, kGuessed};
    }
    if (block.certainty == kGuessed) return block;
    for (u64 i = 0; i < section_shift_.size(); ++i) {
        const Section& s = old_image_.sections[i];
        const bool there = s.loaded() ? !s.thread_local_zeros() : s.virtual_address >= Section::kUnloaded;
        if (there && address - s.virtual_address < s.size)
            return {address + static_cast<u64>(section_shift_[i]), kGuessed};
    }
    return {address, kGuessed};
}

}  // namespace suture
