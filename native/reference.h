// References in copied blocks: each is predicted by the address map; a bit says whether that is right, and what is wrong is
// corrected and learnt.
#pragma once
#include <array>

#include "coder.h"
#include "finder.h"
#include "literal.h"
#include "map.h"

namespace suture {

class ReferenceModel {
  public:
    ReferenceModel() {
        // Most predictions are right from the start.
        for (auto& kind : wrong_)
            for (int certainty = 0; certainty < 3; ++certainty)
                for (auto& history : kind[certainty])
                    for (Bit& model : history) model.p = certainty == kCertain ? 1U << 14 : 1U << 20;
    }

    // The new value of a reference, which goes to `offset` of the new file: encoding takes it in `actual`, decoding gives it
    // there. Returns whether the prediction was wrong.
    template <class C>
    bool code(C& coder, const Reference& reference, u64 offset, const Space& old_space, const Space& new_space, AddressMap& map,
              TargetModel& targets, u64& actual) {
        const Kind kind = reference.kind;
        u64 base = 0;
        if (kind == kBranch || kind == kRipRelative || kind == kUnwind || kind == kUnwindBack) {
            base = new_space.address_of(offset) + (reference.base - old_space.address_of(reference.offset));
        } else if (kind == kJumpTable || kind == kIndex24 || kind == kStringIndex || kind == kExtent) {
            base = map(reference.base).address;
        }
        const Prediction p = kind == kExtent ? map.end(reference.target) : map(reference.target);
        u64 value = p.address;
        if (kind == kUnwindBack) value = base - value;
        else if (kind == kIndex24) value = (value - base) / 24;
        else if (kind != kWord64 && kind != kWord32 && kind != kSlot) value -= base;
        if (reference.size == 4) value &= 0xFFFFFFFFU;
        if constexpr (!C::kEncoding) actual = value;
        u32& history = history_[kind];
        const bool wrong = coder.code(wrong_[kind][p.certainty][history & 7][last_wrong_], actual != value, kSlowest);
        history = history << 1 | static_cast<u32>(wrong);
        last_wrong_ = wrong;
        if (wrong) {
            const u64 error = code_error(coder, kind, actual - value, reference.size);
            actual = value + error;
            if (reference.size == 4) actual &= 0xFFFFFFFFU;
            if (kind != kExtent) {
                const u64 step = kind == kUnwindBack ? 0 - error : kind == kIndex24 ? error * 24 : error;
                map.correct(reference.target, p.address + step);
            }
        } else if (p.certainty == kGuessed && kind != kExtent) {
            map.confirm(reference.target, p.address);
        }
        if (kind <= kRipRelative) targets.saw(kind == kBranch, base + actual);
        return wrong;
    }

  private:
    static constexpr u32 kSlowest = 1000;

    template <class C>
    u64 code_error(C& coder, Kind kind, u64 error, u32 size) {
        if (size == 4) error = static_cast<u64>(static_cast<i64>(static_cast<i32>(error)));
        u64& last = last_error_[kind];
        if (coder.code(same_error_[kind], error == last)) return last;
        last = unzigzag(error_[kind].code(coder, zigzag(error)));
        return last;
    }

    Bit wrong_[kKinds][3][8][2];
    Bit same_error_[kKinds];
    std::array<Number, kKinds> error_{};
    std::array<u64, kKinds> last_error_{};
    std::array<u32, kKinds> history_{};
    bool last_wrong_ = false;
};

}  // namespace suture
