#include "match.h"

#include <algorithm>

namespace suture {
namespace {

constexpr u64 kWindow = 16;      // bytes that an anchor hashes
constexpr i64 kDrop = 60;        // an extension ends when its score falls this far below its best
constexpr int kSame = 2, kOther = -3;
constexpr u64 kMostAnchors = 24ULL << 20;
constexpr int kMostTries = 24;
constexpr u64 kSure = 48;       // as many equal bytes need no look elsewhere

u64 anchor_hash(const u8* p) {
    u64 h = load<u64>(p) * 0x9E3779B97F4A7C15ULL;
    h ^= h >> 32;
    h = (h + load<u64>(p + 8)) * 0xC2B2AE3D27D4EB4FULL;
    return h ^ h >> 29;
}

u64 equal_forward(const u8* a, const u8* b, u64 most) {
    u64 i = 0;
    while (i + 8 <= most) {
        const u64 x = load<u64>(a + i) ^ load<u64>(b + i);
        if (x) return i + static_cast<u64>(__builtin_ctzll(x)) / 8;
        i += 8;
    }
    while (i < most && a[i] == b[i]) ++i;
    return i;
}
u64 equal_backward(const u8* a, const u8* b, u64 most) {
    u64 i = 0;
    while (i < most && a[-1 - static_cast<i64>(i)] == b[-1 - static_cast<i64>(i)]) ++i;
    return i;
}

// How far a block reaches with some bytes changed: where its score is best. `better(distance)` says that something else
// fits better from there on: then it ends before that.
template <class F>
u64 extend_forward(const u8* a, const u8* b, u64 most, F&& better) {
    i64 score = 0, best = 0;
    u64 at = 0, end = 0;
    while (at < most) {
        const u64 same = equal_forward(a + at, b + at, most - at);
        if (at && same < kSure && better(at)) break;
        score += static_cast<i64>(same) * kSame;
        at += same;
        if (score > best) {
            best = score;
            end = at;
        }
        if (at >= most) break;
        score += kOther;
        ++at;
        if (score < best - kDrop) break;
    }
    return end;
}
u64 extend_backward(const u8* a, const u8* b, u64 most) {
    i64 score = 0, best = 0;
    u64 end = 0;
    for (u64 at = 1; at <= most; ++at) {
        score += a[-static_cast<i64>(at)] == b[-static_cast<i64>(at)] ? kSame : kOther;
        if (score > best) {
            best = score;
            end = at;
        }
        if (score < best - kDrop) break;
    }
    return end;
}

// Positions of the old stream by the hash of what is there: sampled by content, so that both streams sample alike.
class Anchors {
  public:
    Anchors(const u8* data, u64 size) {
        while (size >> sampling_ > kMostAnchors) ++sampling_;
        const u64 expected = (size >> sampling_) + 16;
        while (1ULL << log_ < expected / 2) ++log_;
        starts_.assign((1ULL << log_) + 1, 0);
        if (size < kWindow) return;
        const u64 last = size - kWindow;
        for (u64 i = 0; i <= last; ++i) {
            const u64 h = anchor_hash(data + i);
            if (sampled(h) && !dull(data + i)) ++starts_[(h >> (64 - log_)) + 1];
        }
        for (u64 i = 1; i < starts_.size(); ++i) starts_[i] += starts_[i - 1];
        positions_.resize(starts_.back());
        for (u64 i = 0; i <= last; ++i) {
            const u64 h = anchor_hash(data + i);
            if (sampled(h) && !dull(data + i)) positions_[starts_[h >> (64 - log_)]++] = static_cast<u32>(i);
        }
        for (u64 i = starts_.size() - 1; i > 0; --i) starts_[i] = starts_[i - 1];
        starts_[0] = 0;
    }
    bool sampled(u64 h) const { return !(h & ((1ULL << sampling_) - 1)); }
    static bool dull(const u8* p) { return load<u64>(p) == load<u64>(p + 8) && load<u32>(p) == load<u32>(p + 4); }
    std::pair<const u32*, const u32*> find(u64 h) const {
        const u64 bucket = h >> (64 - log_);
        return {positions_.data() + starts_[bucket], positions_.data() + starts_[bucket + 1]};
    }

  private:
    int sampling_ = 0, log_ = 4;
    std::vector<u32> starts_, positions_;
};

class Matcher {
  public:
    Matcher(const std::vector<u8>& a, const std::vector<u8>& b) : a_(a.data()), b_(b.data()), n_(a.size()), m_(b.size()), anchors_(a.data(), a.size()) {}

    std::vector<Block> run() {
        // The beginning is a block of its own where it is alike.
        u64 at = 0, from = 0;
        take(0, 0, 0);
        if (!blocks_.empty()) {
            at = blocks_.back().size;
            from = at;
        }
        while (at + kWindow <= m_) {
            const u64 h = anchor_hash(b_ + at);
            u64 place = 0, length = 0;
            if (anchors_.sampled(h) && !Anchors::dull(b_ + at)) best(h, at, from, place, length);
            if (length < kShortest) {
                ++at;
                ++from;
                continue;
            }
            take(at, place, length);
            const Block& b = blocks_.back();
            at = b.to + static_cast<u64>(b.size);
            from = b.from + static_cast<u64>(b.size);
        }
        return std::move(blocks_);
    }

  private:
    static constexpr u64 kShortest = 20;

    // The best of the old places with this hash: on the expected way if it is there, else the longest.
    void best(u64 h, u64 at, u64 expected, u64& place, u64& length) {
        const auto [first, last] = anchors_.find(h);
        i64 best_score = 0;
        const auto look = [&](u64 p) {
            if (p + kWindow > n_ || load<u64>(a_ + p) != load<u64>(b_ + at)) return;
            const u64 forward = equal_forward(a_ + p, b_ + at, std::min<u64>(std::min(n_ - p, m_ - at), 4096));
            if (forward < kWindow) return;
            const u64 covered = end();
            const u64 backward = equal_backward(a_ + p, b_ + at, std::min<u64>(std::min(p, at - covered), 256));
            i64 score = static_cast<i64>(forward + backward);
            if (p == expected) score += 12;
            else if ((p > expected ? p - expected : expected - p) < 65536) score += 4;
            if (score > best_score) {
                best_score = score;
                place = p;
                length = forward + backward;
            }
        };
        if (expected < n_) look(expected);
        // Where there are many, those around the expected place.
        const u32* middle = std::lower_bound(first, last, static_cast<u32>(std::min<u64>(expected, n_)));
        const u32 *up = middle, *down = middle;
        for (int tries = 0; tries < kMostTries && (up < last || down > first); ++tries) {
            if (up < last) look(*up++);
            if (down > first) look(*--down);
        }
    }

    // Whether another old place fits clearly better than going on.
    bool elsewhere(u64 at, u64 place) {
        if (at + kWindow > m_) return false;
        const u64 h = anchor_hash(b_ + at);
        if (!anchors_.sampled(h) || Anchors::dull(b_ + at)) return false;
        u64 other = 0, length = 0;
        best(h, at, place, other, length);
        if (length < kShortest || other == place) return false;
        const u64 forward = equal_forward(a_ + other, b_ + at, std::min<u64>(std::min(n_ - other, m_ - at), 4096));
        u64 same = 0;
        for (u64 i = 0; i < forward && place + i < n_; ++i) same += a_[place + i] == b_[at + i];
        return forward > same + 10;
    }

    u64 end() const { return blocks_.empty() ? 0 : blocks_.back().to + static_cast<u64>(blocks_.back().size); }

    // A block through (at, place), extended both ways; the one before it gives way where the new one fits better.
    void take(u64 at, u64 place, u64 length) {
        (void)length;
        const u64 forward = extend_forward(a_ + place, b_ + at, std::min(n_ - place, m_ - at), [&](u64 distance) { return elsewhere(at + distance, place + distance); });
        if (!forward) return;
        u64 before = extend_backward(a_ + place, b_ + at, std::min<u64>(place, at));
        const u64 covered = end();
        u64 to = at - before;
        if (to < covered) {
            // Overlap with the last block: the split with the fewest differences. Only that block gives way.
            Block& l = blocks_.back();
            to = std::max<u64>(to, l.to);
            const u64 overlap = covered - to;
            const u8* const p = a_ + l.from + (to - l.to);
            const u8* const q = a_ + place - (at - to);
            i64 score = 0, best_score = 0;
            u64 split = 0;
            for (u64 i = 0; i < overlap; ++i) {
                score += (p[i] == b_[to + i]) - (q[i] == b_[to + i]);
                if (score > best_score) {
                    best_score = score;
                    split = i + 1;
                }
            }
            to += split;
            l.size = static_cast<u32>(to - l.to);
            if (!l.size) blocks_.pop_back();
        }
        blocks_.push_back({static_cast<u32>(to), static_cast<u32>(place - (at - to)), static_cast<u32>(at + forward - to)});
    }

    const u8 *a_, *b_;
    u64 n_, m_;
    Anchors anchors_;
    std::vector<Block> blocks_;
};

}  // namespace

std::vector<Block> match_streams(const std::vector<u8>& old_stream, const std::vector<u8>& new_stream) {
    return Matcher(old_stream, new_stream).run();
}

}  // namespace suture
