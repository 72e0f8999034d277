#include "align.h"

#include <algorithm>

namespace suture {
namespace {

// Scores in fifths of a byte, about: what an equal byte saves, a changed one costs, and a block costs.
constexpr i32 kEqual = 2, kChanged = -2, kOpen = 20;
constexpr u64 kMargin = 256;          // old bytes looked at beyond the gap's own
constexpr u64 kMostNew = 4096;        // new bytes aligned at a time
constexpr u64 kMostOld = 8192;        // old bytes that they are aligned with
constexpr u64 kLargestGap = 32768;     // a longer one is new, or for the matcher
constexpr u64 kWorkPerByte = 256;      // pairs compared for each new byte of the file, at most: linear growth
constexpr i32 kNever = -(1 << 28);

class Aligner {
  public:
    Aligner(const std::vector<u8>& a, const std::vector<u8>& b) : a_(a), b_(b), work_left_(b.size() * kWorkPerByte + (1 << 24)) {}

    // Adds blocks for the new bytes [begin, end): `left`, `right` are the old positions where the blocks around them end
    // and begin.
    void gap(u64 begin, u64 end, u64 left, u64 right, std::vector<Block>& out) {
        if (end - begin > kLargestGap) return;
        for (u64 at = begin; at < end; at += kMostNew) piece(at, std::min(end, at + kMostNew), left, right, out);
    }

  private:
    void window(u64 from, u64 to) {
        from = std::min<u64>(from, a_.size());
        to = std::min<u64>(to, a_.size());
        if (to > from + kMostOld) to = from + kMostOld;
        // A place between windows, so that no diagonal runs from one to the other.
        places_.push_back(~0ULL);
        for (u64 i = from; i < to; ++i) places_.push_back(i);
    }

    void piece(u64 begin, u64 end, u64 left, u64 right, std::vector<Block>& out) {
        const u64 n = end - begin;
        places_.clear();
        const u64 low = left > kMargin ? left - kMargin : 0;
        if (right >= left && right - left <= kMostOld - 2 * kMargin) {
            window(low, right + kMargin);
        } else {
            const u64 reach = std::min<u64>(n + 2 * kMargin, kMostOld / 2);
            window(low, left + reach);
            window(right > reach ? right - reach : 0, right + kMargin);
        }
        const u64 m = places_.size();
        if (n < 4 || m < 8 || n * m > work_left_) return;
        work_left_ -= n * m;
        old_.resize(m);
        for (u64 j = 0; j < m; ++j) old_[j] = places_[j] == ~0ULL ? 256 : a_[places_[j]];
        row_.assign(m, kNever);
        opened_.assign(n * m, 0);
        from_.assign(n + 1, -1);
        // The block before may go on for nothing.
        for (u64 j = 0; j < m; ++j)
            if (places_[j] + 1 == left && left) row_[j] = 0;
        i32 f = 0;
        for (u64 i = 0; i < n; ++i) {
            const i32 c = b_[begin + i];
            u8* const opened = &opened_[i * m];
            next_.resize(m);
            next_[0] = kNever;
            opened[0] = 1;
            const i32* const row = row_.data();
            const i32* const old = old_.data();
            i32* const next = next_.data();
            const i32 start = f - kOpen;
            i32 best = kNever;
            for (u64 j = 1; j < m; ++j) {
                const i32 on = row[j - 1];
                const bool opens = start > on;
                const i32 value = (opens ? start : on) + (old[j] == c ? kEqual : kChanged);
                opened[j] = opens;
                next[j] = value;
                best = best > value ? best : value;
            }
            row_.swap(next_);
            if (best > f) {
                f = best;
                from_[i + 1] = static_cast<i64>(std::find(row_.begin(), row_.end(), best) - row_.begin());
            }
        }
        trace(begin, n, m, right, f, out);
    }

    void trace(u64 begin, u64 n, u64 m, u64 right, i32 f, std::vector<Block>& out) {
        std::vector<Block> found;
        i64 i = static_cast<i64>(n), j = -1;
        // The block after may begin earlier for nothing.
        for (u64 k = 0; k < m; ++k)
            if (right && places_[k] + 1 == right && row_[k] + kOpen > f) j = static_cast<i64>(k);
        while (i > 0) {
            if (j < 0) {
                if (from_[static_cast<u64>(i)] < 0) {
                    --i;
                    continue;
                }
                j = from_[static_cast<u64>(i)];
            }
            const i64 stop = i;
            while (i > 0 && !opened_[static_cast<u64>(i - 1) * m + static_cast<u64>(j)]) {
                --i;
                --j;
                if (j < 0) break;
            }
            // The pair that opened belongs to it too, unless the block before went on into it.
            if (i > 0 && j >= 0) {
                --i;
                if (places_[static_cast<u64>(j)] != ~0ULL) found.push_back({static_cast<u32>(begin + static_cast<u64>(i)), static_cast<u32>(places_[static_cast<u64>(j)]), static_cast<u32>(stop - i)});
            } else if (stop > i && j >= -1) {
                const u64 first = static_cast<u64>(j + 1);
                if (places_[first] != ~0ULL) found.push_back({static_cast<u32>(begin + static_cast<u64>(i)), static_cast<u32>(places_[first]), static_cast<u32>(stop - i)});
            }
            j = -1;
        }
        out.insert(out.end(), found.rbegin(), found.rend());
    }

    const std::vector<u8>&a_, &b_;
    u64 work_left_;
    std::vector<u64> places_;
    std::vector<i32> old_, row_, next_;
    std::vector<u8> opened_;
    std::vector<i64> from_;
};

}  // namespace

std::vector<Block> align_gaps(const std::vector<u8>& old_stream, const std::vector<u8>& new_stream, const std::vector<Block>& blocks) {
    Aligner aligner(old_stream, new_stream);
    std::vector<Block> all;
    u64 to = 0, from = 0;
    for (u64 i = 0; i <= blocks.size(); ++i) {
        const u64 begin = i < blocks.size() ? blocks[i].to : new_stream.size();
        const u64 right = i < blocks.size() ? blocks[i].from : old_stream.size();
        if (begin > to) aligner.gap(to, begin, from, right, all);
        if (i == blocks.size()) break;
        all.push_back(blocks[i]);
        to = begin + blocks[i].size;
        from = right + blocks[i].size;
    }
    // Parts of one block become one.
    std::vector<Block> joined;
    for (const Block& b : all) {
        if (!joined.empty()) {
            Block& l = joined.back();
            if (l.to + l.size == b.to && l.from + l.size == b.from) {
                l.size += b.size;
                continue;
            }
        }
        joined.push_back(b);
    }
    return joined;
}

}  // namespace suture
