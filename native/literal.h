// Models of single bytes: literals, which no block gives, and changed bytes inside blocks.
#pragma once
#include <algorithm>
#include <vector>

#include "blend.h"
#include "instruction.h"

namespace suture {

// What is known around one byte that is to be coded. `before` may be read 64 bytes back.
struct Surroundings {
    const u8* before = nullptr;  // one past the last new byte
    u8 aligned = 0;              // the old byte at the same place, counted from the block before
    u8 aligned_next = 0;         // the one after that
    u8 aligned_last = 0;         // and the one before
    u8 backward = 0;             // the old byte at the same place, counted from the block after
    bool code = false;           // in code
    u64 offset = 0;              // in the new file
};

class LiteralModel {
  public:
    explicit LiteralModel(u64 literals)
        : blend_(kContexts, slots_log(literals), 16 * 16, 512), heads_(1ULL << heads_log(literals), 0), head_shift_(32 - heads_log(literals)) {}

    // A new run of literals begins: finds where in an instruction, by sweeping what is before.
    void begin_run(const u8* before, bool code) {
        instruction_ = 0;
        last_opcode_ = 0;
        match_ = 0;
        if (!code) return;
        const u8* at = before - kLookBack;
        while (at < before) {
            const int known = static_cast<int>(before - at);
            const Instruction i = decode_instruction(at, before);
            // Its length is 1 too where its bytes are not all there yet.
            if (i.length == 1 && !progress_of(at, known).done) break;
            last_opcode_ = last_opcode_ << 8 | i.opcode;
            at += i.length;
        }
        instruction_ = static_cast<int>(before - at);
    }

    template <class C>
    u8 code(C& coder, u8 value, const Surroundings& s) {
        const u8* const h = s.before;
        const u32 c4 = load_back(h, 4), c8 = load_back(h - 4, 4);
        Progress progress;
        u32 prefix = 0;
        if (s.code) {
            progress = progress_of(h - instruction_, instruction_);
            for (int i = 1; i <= instruction_; ++i) prefix = hash_of(prefix, h[-i]);
        }
        const u32 state = s.code ? 1U + progress.field * 8U + std::min<u32>(progress.index, 7U) : 0;
        const u32 column = static_cast<u32>(s.offset & 7);
        const bool follows = h[-1] == s.aligned_last;
        const bool agree = s.aligned == s.backward;
        u32 x[kContexts];
        int n = 0;
        const auto add = [&](u32 a, u32 b) { x[n] = hash_of(a, b + static_cast<u32>(n) * 0x01000193U); ++n; };
        add(state, 0);
        add(c4 & 0xFF, state);
        add(c4 & 0xFFFF, state);
        add(c4 & 0xFFFFFF, 0);
        add(c4, 0);
        add(c4, c8 & 0xFFFF);
        add(s.aligned | s.aligned_next << 8 | (c4 & 0xFF) << 16, follows);
        add(s.aligned | s.backward << 8 | static_cast<u32>(follows) << 16, state);
        add(s.backward | (c4 & 0xFF) << 8, agree);
        add(s.code ? prefix : (h[-4] | h[-8] << 8), s.code ? state : column + 1000);
        add(s.code ? hash_of(prefix, last_opcode_ & 0xFF) : (c4 & 0xFF) | h[-8] << 8 | h[-16] << 16, s.code ? state : column + 2000);
        add(s.code ? hash_of(last_opcode_ & 0xFFFF, progress.opcode | progress.modrm << 8) : (h[-24] | h[-4] << 8), s.code ? state : 3000);
        // The longest match among earlier literals.
        int expected = -1;
        u32 confidence = 0;
        if (match_ && length_ >= kShortest) {
            expected = history_[match_ & kHistoryMask];
            confidence = length_ > 31 ? 15 : length_ > 15 ? 13 + (length_ > 23) : length_ - kShortest + 1;
            if (confidence > 15) confidence = 15;
        }
        const u32 closeness = static_cast<u32>(follows) | static_cast<u32>(agree) << 1;
        const u8 got = blend_.code(coder, value, x, expected, confidence, confidence * 16 + closeness * 4 + run_, state * 4 + closeness);
        accept(got, s);
        return got;
    }

    // Takes note of a byte, coded here or elsewhere.
    void accept(u8 got, const Surroundings& s) {
        run_ = got == s.aligned ? std::min<u32>(run_ + 1, 3U) : 0;
        remember(got, s.before);
        if (s.code) {
            ++instruction_;
            step(s.before, got);
        }
    }

    // Whether the next four bytes are the displacement of a call or of a rip-relative operand.
    bool at_reference(const u8* before, Progress& progress) const {
        progress = progress_of(before - instruction_, instruction_);
        if (progress.index) return false;
        return progress.field == kRip || (progress.field == kRelative32 && progress.map == 0 && progress.opcode == 0xE8);
    }

  private:
    static constexpr int kContexts = 12;
    static constexpr int kLookBack = 48;
    static constexpr u32 kHistoryMask = (1U << 22) - 1;
    static constexpr u32 kShortest = 4;

    static u32 load_back(const u8* h, int n) {
        u32 v = 0;
        for (int i = n; i >= 1; --i) v = v << 8 | h[-i];
        return v;
    }
    static int slots_log(u64 literals) {
        int log = 12;
        while (log < 22 && (1ULL << log) < literals * 64) ++log;
        return log;
    }
    static int heads_log(u64 literals) {
        int log = 8;
        while (log < 18 && (1ULL << log) < literals) ++log;
        return log;
    }
    // Ends the instruction if its bytes, with the newest, are whole. A copy, since the newest is not yet at h[0].
    void step(const u8* h, u8 got) {
        u8 bytes[64];
        const int n = instruction_ > 40 ? 1 : instruction_;
        for (int i = 0; i < n - 1; ++i) bytes[i] = h[i - (n - 1)];
        bytes[n - 1] = got;
        const Progress p = progress_of(bytes, n);
        if (p.done || n >= 40) {
            last_opcode_ = last_opcode_ << 8 | p.opcode;
            instruction_ = 0;
        }
    }
    void remember(u8 got, const u8* h) {
        if (history_.size() <= kHistoryMask) history_.push_back(got);
        else history_[count_ & kHistoryMask] = got;
        if (match_ && history_[match_ & kHistoryMask] == got && match_ < count_) {
            ++match_;
            if (length_ < 65535) ++length_;
        } else {
            match_ = 0;
            length_ = 0;
        }
        ++count_;
        // Keyed by the last four bytes; position 0 means none.
        const u32 key = hash_of(static_cast<u32>(got) << 24 | load_back(h, 3), 77) >> head_shift_;
        if (!match_) {
            match_ = heads_[key];
            length_ = 0;
            if (match_ && count_ - match_ <= kHistoryMask) {
                while (length_ < 32 && match_ > length_ && history_[(match_ - 1 - length_) & kHistoryMask] == history_[(count_ - 1 - length_) & kHistoryMask] && count_ - (match_ - length_) < kHistoryMask) ++length_;
                if (length_ < kShortest) match_ = 0;
            } else {
                match_ = 0;
            }
        }
        heads_[key] = static_cast<u32>(count_);
    }

    Blend blend_;
    std::vector<u8> history_;
    std::vector<u32> heads_;
    int head_shift_;
    u64 count_ = 0;
    u32 match_ = 0, length_ = 0;
    u32 run_ = 0;
    int instruction_ = 0;
    u32 last_opcode_ = 0;
};

// Where a call or a rip-relative operand among literals goes: as an address, since many go to the same one.
class TargetModel {
  public:
    static constexpr u32 kRing = 1024;
    explicit TargetModel(u64 literals) : blend_(kContexts, literals > 100000 ? 20 : 15, 8, 256) {}

    // An address that was gone to.
    void saw(bool call, u64 target) { rings_[call][next_[call]++ & (kRing - 1)] = static_cast<u32>(target); }

    // guesses: two addresses that the old file suggests, or ~0 where it does not.
    template <class C>
    u32 code(C& coder, bool call, u32 target, const u64* guesses, u64 place) {
        for (int i = 0; i < 2; ++i) {
            if (guesses[i] == ~0ULL || (i && guesses[1] == guesses[0])) continue;
            const u32 guess = static_cast<u32>(guesses[i]);
            Bit& model = guessed_[call][i][history_[i] & 3];
            const bool hit = coder.code(model, target == guess);
            history_[i] = history_[i] << 1 | hit;
            if (hit) return seen(call, guess);
        }
        const auto& ring = rings_[call];
        const u32 filled = std::min(next_[call], kRing);
        u32 age = 0;
        if constexpr (C::kEncoding) {
            while (age < filled && ring[(next_[call] - 1 - age) & (kRing - 1)] != target) ++age;
        }
        if (coder.code(recent_[call][last_recent_], age < filled)) {
            last_recent_ = 1;
            age = static_cast<u32>(age_[call].code(coder, age));
            if (age >= filled) throw Malformed("an address that was not seen");
            return seen(call, ring[(next_[call] - 1 - age) & (kRing - 1)]);
        }
        last_recent_ = 0;
        u32 value = 0;
        for (u32 i = 0; i < 4; ++i) {
            u32 x[kContexts];
            int n = 0;
            const auto add = [&](u32 a, u32 b) { x[n] = hash_of(a, b + static_cast<u32>(n) * 0x01000193U); ++n; };
            add(i, call);
            add(value, i * 2 + call);
            add(value, i);
            add(static_cast<u32>(place >> (24 - 8 * i)), i * 2 + call);
            add(last_[call] >> (24 - 8 * i), hash_of(value, i * 2 + call));
            const u8 got = blend_.code(coder, static_cast<u8>(target >> (24 - 8 * i)), x, -1, 0, i * 2 + call, 0);
            value = value << 8 | got;
        }
        last_[call] = value;
        return seen(call, value);
    }

  private:
    static constexpr int kContexts = 5;
    u32 seen(bool call, u32 target) {
        saw(call, target);
        return target;
    }
    Blend blend_;
    std::array<std::array<u32, kRing>, 2> rings_{};
    std::array<u32, 2> next_{}, last_{}, history_{};
    u32 last_recent_ = 0;
    Bit guessed_[2][2][4]{};
    Bit recent_[2][2]{};
    std::array<Number, 2> age_{};
};

// A byte inside a block that differs from the old one.
class ChangedModel {
  public:
    explicit ChangedModel(u64 changes) : blend_(kContexts, slots_log(changes), 4, 256) {}

    template <class C>
    u8 code(C& coder, u8 value, const Surroundings& s) {
        const u32 old = s.aligned;
        const u8* const h = s.before;
        u32 x[kContexts];
        int n = 0;
        const auto add = [&](u32 a, u32 b) { x[n] = hash_of(a, b + static_cast<u32>(n) * 0x01000193U); ++n; };
        add(old, 0);
        add(old | h[-1] << 8, 0);
        add(old | h[-1] << 8 | h[-2] << 16, 0);
        add(old | s.aligned_next << 8, 0);
        add(last_difference_, s.code);
        add(old, last_difference_ + 256);
        add(h[-1] | h[-2] << 8, last_difference_ | static_cast<u32>(s.code) << 8);
        add(s.code, 1 + static_cast<u32>(s.offset & 3));
        // The difference is coded, never 0: contexts of the old byte make it the new one.
        const u8 difference = blend_.code(coder, static_cast<u8>(value - old), x, -1, 0, static_cast<u32>(s.code), last_difference_);
        last_difference_ = difference;
        return static_cast<u8>(old + difference);
    }

  private:
    static constexpr int kContexts = 8;
    static int slots_log(u64 changes) {
        int log = 12;
        while (log < 22 && (1ULL << log) < changes * 48) ++log;
        return log;
    }
    Blend blend_;
    u32 last_difference_ = 0;

  public:
    u32 last_difference() const { return last_difference_; }
};

// Whether the next old byte of a block changes, asked of each byte for a while after one that did.
class WatchModel {
  public:
    explicit WatchModel(u64 changes) : blend_(kContexts, slots_log(changes), 40, 256, 16000) {}
    static constexpr u32 kWatched = 32;  // bytes

    // distance: plain bytes since the last change; gap, gap_before: the last two gaps; difference: the last change's.
    template <class C>
    bool code(C& coder, bool changes, const u8* old, u64 old_left, const u8* before, u32 distance, u64 gap, u64 gap_before, u32 difference, u64 offset, u32 place) {
        const u32 here = old[0], next = old_left > 1 ? old[1] : 0, third = old_left > 2 ? old[2] : 0;
        const u32 g = gap < 64 ? static_cast<u32>(gap) : 64, g2 = gap_before < 64 ? static_cast<u32>(gap_before) : 64;
        u32 x[kContexts];
        int n = 0;
        const auto add = [&](u32 a, u32 b) { x[n] = hash_of(a, b + static_cast<u32>(n) * 0x01000193U); ++n; };
        add(distance, g | place << 8);
        add(here | before[-1] << 8, place);
        add(here | before[-1] << 8 | before[-2] << 16, next);
        add(here | next << 8 | third << 16, distance < 4 ? distance : 4);
        add(here, difference | place << 8);
        add(distance | static_cast<u32>(offset & 7) << 8, here);
        add(distance, g | g2 << 8);
        add(before[-1] | before[-2] << 8 | before[-3] << 16, before[-4] | distance << 8);
        return blend_.flag(coder, changes, x, distance, here);
    }

  private:
    static constexpr int kContexts = 8;
    static int slots_log(u64 changes) {
        int log = 12;
        while (log < 20 && (1ULL << log) < changes * 32) ++log;
        return log;
    }
    Blend blend_;
};

}  // namespace suture
