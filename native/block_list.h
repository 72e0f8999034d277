// The block list: where copied bytes come from, coded by the ways that such lists mostly take.
#pragma once
#include <algorithm>
#include <array>
#include <vector>

#include "coder.h"
#include "map.h"

namespace suture {

class BlockListModel {
  public:
    // Decoding fills `blocks`. Returns how many bytes of the new stream lie outside of blocks; throws Malformed for one that
    // reaches outside either stream.
    template <class C>
    u64 code(C& coder, std::vector<Block>& blocks, u64 old_size, u64 new_size) {
        const u64 count = count_.code(coder, blocks.size());
        if (count > new_size || count > kMostBlocks) throw Malformed("too many blocks");
        if constexpr (!C::kEncoding) blocks.reserve(std::min<u64>(count, 1U << 16));
        u64 to = 0, from = 0;  // ends of the block before
        u32 last_way = 0, last_gap = 0;
        u64 literals = 0;
        std::array<u64, 4> ways{};  // differences from - to of earlier blocks, the latest first
        for (u64 i = 0; i < count; ++i) {
            Block b{};
            if constexpr (C::kEncoding) b = blocks[i];
            const u64 gap = gaps_[std::min<u32>(last_way, 2)].code(coder, b.to - to);
            if (gap > new_size - to) throw Malformed("a block begins outside the new file");
            const u64 start = to + gap;
            // Where from: on with the old bytes as if nothing was inserted, as if as much was replaced, on the way of
            // an earlier block, or elsewhere.
            const u64 here = C::kEncoding ? b.from : 0;
            const std::array<u64, 5> guesses = {from + gap, from, start + ways[1], start + ways[2], start + ways[3]};
            u32 way = 0;
            const u32 gap_class = gap == 0 ? 0 : gap < 8 ? 1 : 2;
            Bit* const models = way_[last_way][gap_class];
            for (; way < guesses.size(); ++way)
                if (coder.code(models[way], here == guesses[way])) break;
            u64 place = 0;
            if (way < guesses.size()) {
                place = guesses[way];
            } else {
                const u64 difference = unzigzag(seek_[std::min<u32>(last_gap, 2)].code(coder, zigzag(here - guesses[0])));
                place = guesses[0] + difference;
            }
            const u64 size = size_[way < 5 ? way != 0 : 2].code(coder, b.size - 1ULL) + 1;
            if (place > old_size || size > old_size - place || size > new_size - start) throw Malformed("a block reaches outside a file");
            if constexpr (!C::kEncoding) blocks.push_back({static_cast<u32>(start), static_cast<u32>(place), static_cast<u32>(size)});
            literals += gap;
            to = start + size;
            from = place + size;
            const u64 difference = place - start;
            u32 k = 0;
            while (k < 3 && ways[k] != difference) ++k;
            for (; k; --k) ways[k] = ways[k - 1];
            ways[0] = difference;
            last_way = way;
            last_gap = gap_class;
        }
        return literals + (new_size - to);
    }

  private:
    Number count_;
    std::array<Number, 3> gaps_{}, seek_{}, size_{};
    Bit way_[6][3][5]{};
};

}  // namespace suture
