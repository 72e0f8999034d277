// Bytes under context mixing: each context gives each bit a probability, two mixers weigh them, in integers only.
// For literals and changed bytes, where the contexts that pay most are the old file's bytes at the same place.
#pragma once
#include <array>
#include <vector>

#include "coder.h"

namespace suture {

// Logistic functions by table: squash in 16 bits, stretch in 1/256, both frozen (spec/delta.md §4.8).
struct Logistic {
    using i16 = std::int16_t;
    std::array<u16, 4096> squash{};   // index x + 2048
    std::array<i16, 4096> stretch{};  // index p / 16
    constexpr Logistic() {
        // round(65536 / (1 + exp((16 - i) / 2))) for i = 0 … 32
        constexpr int kKnots[33] = {22,    36,    60,    98,    162,   267,   439,   720,   1179,  1921,  3108,
                                    4971,  7812,  11955, 17625, 24743, 32768, 40793, 47911, 53581, 57724, 60565,
                                    62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514};
        for (int x = 0; x < 4096; ++x) {
            const int knot = x >> 7, part = x & 127;
            squash[x] = static_cast<u16>((kKnots[knot] * (128 - part) + kKnots[knot + 1] * part + 64) >> 7);
        }
        int x = 0;
        for (int p = 0; p < 4096; ++p) {
            while (x < 4095 && squash[x] < p * 16 + 8) ++x;
            stretch[p] = static_cast<i16>(x - 2048);
        }
    }
};
inline constexpr Logistic kLogistic;

inline u32 hash_of(u32 a, u32 b) {
    u32 h = a * 0x9E3779B1U ^ (b + 0x7F4A7C15U) * 0x85EBCA6BU;
    h ^= h >> 15;
    h *= 0xC2B2AE35U;
    return h ^ h >> 13;
}

// A mixture of `n` hashed contexts, and optionally of one bit that a match predicts.
class Blend {
  public:
    // contexts: how many hashes each byte brings; slots: logarithm of the table's size; sets: mixer selectors' ranges.
    Blend(int contexts, int slots_log, int first_sets, int second_sets, u32 fresh = 32768)
        : contexts_(contexts),
          shift_(32 - slots_log),
          fresh_(fresh),
          slots_(1ULL << slots_log, fresh),
          first_(static_cast<u64>(first_sets) * (contexts + 2), kFirstWeight),
          second_(static_cast<u64>(second_sets) * (contexts + 2), kFirstWeight),
          third_(256ULL * (contexts + 2), kFirstWeight) {}

    // Codes one byte. hashes: `contexts` of them; expected: the byte that a match predicts, or -1, with its
    // confidence class 0 … 15; first, second: mixer selectors.
    template <class C>
    u8 code(C& coder, u8 value, const u32* hashes, int expected, u32 confidence, u32 first, u32 second) {
        u32 partial = 1;
        for (int i = 7; i >= 0; --i) {
            const int expected_bit = expected >= 0 && (static_cast<u32>(expected) | 256U) >> (i + 1) == partial
                                         ? (expected >> i & 1)
                                         : -1;
            const int bit = code_bit(coder, value >> i & 1, hashes, partial, expected_bit, confidence, first, second);
            partial = partial << 1 | static_cast<u32>(bit);
        }
        return static_cast<u8>(partial);
    }

    // Codes one flag.
    template <class C>
    bool flag(C& coder, bool value, const u32* hashes, u32 first, u32 second) {
        return code_bit(coder, value, hashes, 1, -1, 0, first, second);
    }

  private:
    static constexpr i32 kFirstWeight = 18000;
    static constexpr u32 kLimit = 16;
    static constexpr int kMost = 24;

    template <class C>
    int code_bit(C& coder, int bit, const u32* hashes, u32 partial, int expected, u32 confidence, u32 first, u32 second) {
        std::array<i32, kMost> x;
        std::array<u32*, kMost> slot;
        const int n = contexts_ + 2;
        for (int i = 0; i < contexts_; ++i) {
            const u32 h = hash_of(hashes[i], partial);
            u32& s = slots_[h >> shift_];
            if (((s >> 22) ^ h) & 1023) s = (h & 1023) << 22 | fresh_;
            slot[i] = &s;
            x[i] = kLogistic.stretch[(s & 65535) >> 4];
        }
        Bit& match = match_[expected < 0 ? 0 : confidence];
        if (expected < 0) {
            x[contexts_] = 0;
        } else {
            const i32 s = kLogistic.stretch[match.p >> 10];
            x[contexts_] = expected ? s : -s;
        }
        x[contexts_ + 1] = 256;
        i32* const w1 = &first_[static_cast<u64>(first) * n];
        i32* const w2 = &second_[static_cast<u64>(second) * n];
        i32* const w3 = &third_[static_cast<u64>(partial) * n];
        i64 dot1 = 0, dot2 = 0, dot3 = 0;
        for (int i = 0; i < n; ++i) {
            dot1 += static_cast<i64>(x[i]) * w1[i];
            dot2 += static_cast<i64>(x[i]) * w2[i];
            dot3 += static_cast<i64>(x[i]) * w3[i];
        }
        const i32 d1 = clamp(dot1 >> 16), d2 = clamp(dot2 >> 16), d3 = clamp(dot3 >> 16);
        const i32 p1 = kLogistic.squash[d1 + 2048], p2 = kLogistic.squash[d2 + 2048], p3 = kLogistic.squash[d3 + 2048];
        const u32 p = kLogistic.squash[((d1 + d2 + d3) * 21845 >> 16) + 2048];
        bit = coder.code_raw(p, bit);
        const i32 e1 = ((bit << 16) - p1) * rate(), e2 = ((bit << 16) - p2) * rate(), e3 = ((bit << 16) - p3) * rate();
        for (int i = 0; i < n; ++i) {
            w1[i] += (static_cast<i64>(x[i]) * e1 + (1 << 19)) >> 20;
            w2[i] += (static_cast<i64>(x[i]) * e2 + (1 << 19)) >> 20;
            w3[i] += (static_cast<i64>(x[i]) * e3 + (1 << 19)) >> 20;
        }
        ++bits_;
        for (int i = 0; i < contexts_; ++i) learn(*slot[i], bit);
        if (expected >= 0) {
            const i64 gap = static_cast<i64>(bit == expected ? (1 << 22) - 1 : 0) - match.p;
            match.p = static_cast<u32>(match.p + (gap * kRates.of[match.seen] >> 16));
            if (match.seen < 255) ++match.seen;
        }
        return bit;
    }

    static i32 clamp(i64 d) { return static_cast<i32>(d < -2047 ? -2047 : d > 2047 ? 2047 : d); }
    // Mixers learn quickly at first.
    i32 rate() const { return bits_ < 256 ? 100 : bits_ < 4096 ? 60 : bits_ < 65536 ? 28 : 18; }
    static void learn(u32& s, int bit) {
        const i32 p = static_cast<i32>(s & 65535);
        const u32 seen = s >> 16 & 63;
        const i64 gap = (bit ? 65535 : 0) - p;
        const u32 q = static_cast<u32>(p + (gap * kRates.of[seen] >> 16));
        s = (s & 0xFFC00000U) | (seen < kLimit ? seen + 1 : seen) << 16 | q;
    }

    int contexts_;
    int shift_;
    u32 fresh_;  // a new slot: check 0, seen 0, this probability
    std::vector<u32> slots_;
    std::vector<i32> first_, second_, third_;
    std::array<Bit, 16> match_{};
    u64 bits_ = 0;
};

}  // namespace suture
