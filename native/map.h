// The address map: the block list says where old bytes went, and corrections teach what it does not say.
#pragma once
#include <map>
#include <vector>

#include "image.h"

namespace suture {

// `size` bytes of the old stream at `from` are, nearly, the new stream's at `to`.
struct Block {
    u32 to = 0, from = 0, size = 0;
};

// More are malformed, and no encoder's: a bound on memory that real releases stay far below.
constexpr u64 kMostBlocks = 1ULL << 20;

enum Certainty : u8 { kCertain, kGuessed, kLearnt };

struct Prediction {
    u64 address = 0;
    Certainty certainty = kGuessed;
};

// What was learnt of single addresses: old to new. Open addressing; grows with what was learnt, never with the file.
class Lessons {
  public:
    const u64* find(u64 key) const {
        if (keys_.empty()) return nullptr;
        const u64 i = place(key);
        return used_[i] ? &values_[i] : nullptr;
    }
    void put(u64 key, u64 value) {
        if ((count_ + 1) * 2 > keys_.size()) grow();
        const u64 i = place(key);
        if (!used_[i]) {
            used_[i] = 1;
            keys_[i] = key;
            ++count_;
        }
        values_[i] = value;
    }
    u64 count() const { return count_; }

  private:
    u64 place(u64 key) const {
        u64 i = (key * 0x9E3779B97F4A7C15ULL >> 20) & (keys_.size() - 1);
        while (used_[i] && keys_[i] != key) i = (i + 1) & (keys_.size() - 1);
        return i;
    }
    void grow() {
        Lessons larger;
        const u64 size = keys_.empty() ? 64 : keys_.size() * 2;
        larger.keys_.resize(size);
        larger.values_.resize(size);
        larger.used_.resize(size);
        for (u64 i = 0; i < keys_.size(); ++i)
            if (used_[i]) larger.put(keys_[i], values_[i]);
        *this = std::move(larger);
    }
    std::vector<u64> keys_, values_;
    std::vector<u8> used_;
    u64 count_ = 0;
};

class AddressMap {
  public:
    AddressMap(const Image& old_image, const Image& new_image, const Space& old_space, const Space& new_space,
               const Stream& old_stream, const Stream& new_stream, const std::vector<Block>& blocks);

    // Where an old address went.
    Prediction operator()(u64 address) const;
    // Where the end of something went: one past where its last byte did.
    Prediction end(u64 address) const {
        Prediction p = (*this)(address - 1);
        ++p.address;
        return p;
    }
    // That a guess was right, or what is right instead.
    void confirm(u64 old_address, u64 new_address) {
        if (guesses_.size() < kMostLessons) guesses_[old_address] = new_address - old_address;
    }
    void correct(u64 old_address, u64 new_address) {
        if (lessons_.count() < kMostLessons) lessons_.put(old_address, new_address);
        confirm(old_address, new_address);
    }

  private:
    // Beyond these nothing more is learnt: a bound on memory, the same on both sides.
    static constexpr u64 kMostLessons = 1ULL << 18;
    struct Move {
        u32 begin, end;
        i64 shift;
    };
    Prediction of_block(u64 address, u64& distance) const;
    const Image& new_image_;
    const Image& old_image_;
    const Space &old_space_, &new_space_;
    const Stream &old_stream_, &new_stream_;
    std::vector<Move> moves_;
    std::vector<u32> starts_;  // for each 64 KiB of the old stream, the first move that ends after its begin
    std::vector<i64> section_shift_;
    std::vector<u8> section_known_;
    Lessons lessons_;
    std::map<u64, u64> guesses_;
};

}  // namespace suture
