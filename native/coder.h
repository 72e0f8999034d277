// The range coder and its plain adaptive models. One template for both directions: `code(model, bit)` writes the bit or
// returns the one that was read, so that encoder and decoder cannot disagree about the order of anything.
// Integers only: the same bytes on every machine.
#pragma once
#include <array>
#include <vector>

#include "bytes.h"

namespace suture {

// A probability of 1 in 22 bits and how often it was seen; the rate of learning falls as 1 / (seen + 1.5).
struct Bit {
    u32 p = 1U << 21;
    u16 seen = 0;
};

// 65536 / (n + 1.5), rounded down.
struct Rates {
    std::array<u32, 1024> of{};
    constexpr Rates() {
        for (u32 n = 0; n < 1024; ++n) of[n] = 131072 / (2 * n + 3);
    }
};
inline constexpr Rates kRates;

template <bool kEncode>
class Coder {
  public:
    static constexpr bool kEncoding = kEncode;

    // Encoding: nothing. Decoding: the coded bytes.
    explicit Coder(View input = {}) : input_(input) {
        if constexpr (!kEncode) {
            for (int i = 0; i < 4; ++i) code_ = code_ << 8 | next();
        }
    }

    // A bit whose probability of 1 is p / 65536, 1 <= p <= 65535.
    int code_raw(u32 p, int bit) {
        const u32 bound = (range_ >> 16) * p;
        if constexpr (kEncode) {
            if (bit) {
                range_ = bound;
            } else {
                low_ += bound;
                range_ -= bound;
            }
            while (range_ < (1U << 24)) {
                shift();
                range_ <<= 8;
                ++shifted_;
            }
        } else {
            bit = code_ < bound;
            if (bit) {
                range_ = bound;
            } else {
                code_ -= bound;
                range_ -= bound;
                low_ = static_cast<u32>(low_ + bound);
            }
            while (range_ < (1U << 24)) {
                code_ = code_ << 8 | next();
                low_ = static_cast<u32>(low_ << 8);
                range_ <<= 8;
                ++shifted_;
            }
        }
        return bit;
    }

    // A bit under an adaptive model; `limit` (at most 1023) bounds how slow it learns.
    int code(Bit& model, int bit, u32 limit = 255) {
        u32 p = model.p >> 6;
        p = p < 1 ? 1 : p > 65535 ? 65535 : p;
        bit = code_raw(p, bit);
        const i64 gap = static_cast<i64>(bit ? (1 << 22) - 1 : 0) - model.p;
        model.p = static_cast<u32>(model.p + (gap * kRates.of[model.seen] >> 16));
        if (model.seen < limit) ++model.seen;
        return bit;
    }

    // Ends the code: the shortest bytes that decode to what was coded, without trailing zeros.
    std::vector<u8> finish() {
        low_ = last_value();
        for (int i = 0; i < 5; ++i) shift();
        for (int i = 0; i < kMostTrimmed && !out_.empty() && out_.back() == 0; ++i) out_.pop_back();
        return std::move(out_);
    }

    // Decoding: whether the code ends as `finish` ends it: with the value that it chooses, and without its zeros.
    bool ends_well() const {
        const u64 value = last_value();
        u64 size = 4 + shifted_;
        for (int i = 0; i < kMostTrimmed && !(value >> (8 * i) & 255); ++i) --size;
        return low_ + code_ == value && input_.size == size;
    }
    // What was coded so far in 1/65536 bits, for the account that `inspect` gives: log2 of the range's shrinking.
    u64 spent() const { return shifted_ * 8 * 65536 - log2_of(range_); }

  private:
    // Of the values in [low, low + range), the one with most trailing zero bits.
    u64 last_value() const {
        for (int k = 31; k > 0; --k) {
            const u64 mask = (1ULL << k) - 1;
            const u64 value = (low_ + mask) & ~mask;
            if (value < low_ + range_) return value;
        }
        return low_;
    }
    u8 next() {
        if (position_ < input_.size) return input_.data[position_++];
        if (++past_ > kMostPast) throw Malformed("the patch ends too early");
        return 0;
    }
    void shift() {
        if (low_ < 0xFF000000ULL || low_ > 0xFFFFFFFFULL) {
            const u8 carry = static_cast<u8>(low_ >> 32);
            if (started_) out_.push_back(static_cast<u8>(held_ + carry));
            for (; pending_; --pending_) out_.push_back(static_cast<u8>(0xFF + carry));
            started_ = true;
            held_ = static_cast<u8>(low_ >> 24);
        } else {
            ++pending_;
        }
        low_ = (low_ & 0x00FFFFFFULL) << 8;
    }

    // Piecewise linear, good to 0.09 bits; the account is a sum over long runs.
    static u64 log2_of(u32 value) {
        int top = 31;
        while (!(value >> top)) --top;
        return (static_cast<u64>(top) << 16) + ((static_cast<u64>(value) << 16 >> top) - 65536) - (32ULL << 16);
    }
    static constexpr int kMostTrimmed = 4;
    // The decoder looks 4 bytes ahead, and `finish` leaves out 4 at most: a patch that needs more was cut.
    static constexpr u32 kMostPast = 4 + kMostTrimmed;
    View input_;
    u64 position_ = 0;
    u32 past_ = 0;
    u32 code_ = 0;
    u32 range_ = 0xFFFFFFFFU;
    u64 low_ = 0;
    u64 pending_ = 0;
    u8 held_ = 0;
    bool started_ = false;
    u64 shifted_ = 0;
    std::vector<u8> out_;
};

// A number of at most 64 bits: its length in bits by a tree of models, its upper and lowest bits by models, the rest flat.
class Number {
  public:
    template <class C>
    u64 code(C& coder, u64 value) {
        int length = 0;
        if constexpr (C::kEncoding) {
            while (length < 64 && value >> length) ++length;
        }
        // 0 … 64 bits: a flag for "longer than 15", then a tree of 4 or 6 bits.
        const int large = coder.code(large_, length > 15);
        u32 node = 1;
        const int depth = large ? 6 : 4;
        auto& tree = large ? long_ : short_;
        const int rest = large ? length - 16 : length;
        for (int i = depth - 1; i >= 0; --i) node = node << 1 | static_cast<u32>(coder.code(tree[node], rest >> i & 1));
        length = static_cast<int>(node - (1U << depth)) + (large ? 16 : 0);
        if (length > 64) throw Malformed("a number of more than 64 bits");
        if (length < 2) return static_cast<u64>(length);
        u64 result = 1;
        for (int i = length - 2; i >= 0; --i) {
            const int bit = static_cast<int>(value >> i & 1);
            const int from_top = length - 2 - i;
            int got;
            if (from_top < 3) {
                got = coder.code(upper_[length][(1U << from_top) - 1 + (result & ((1U << from_top) - 1))], bit);
            } else if (i < 4) {
                got = coder.code(lower_[length > 12 ? 12 : length][i], bit);
            } else {
                got = coder.code_raw(32768, bit);
            }
            result = result << 1 | static_cast<u64>(got);
        }
        return result;
    }

  private:
    Bit large_;
    std::array<Bit, 64> short_{}, long_{};
    std::array<std::array<Bit, 7>, 65> upper_{};
    std::array<std::array<Bit, 4>, 13> lower_{};
};

}  // namespace suture
