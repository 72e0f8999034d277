// .rela.dyn: predicted from the old table by the address map, entry by entry.
#pragma once
#include <algorithm>
#include <vector>

#include "coder.h"
#include "map.h"
#include "output.h"

namespace suture {

struct Relocation {
    u64 place, info, addend;
};

class RelocationModel {
  public:
    // .rela.dyn: every old entry through the map, the relative ones in their new order, and what that gets wrong.
    // truth: the new table (encoding). Gives `size` bytes to the output.
    template <class C>
    void code(C& coder, View old, const Image& old_image, AddressMap& map, View truth, u64 size, Output& out, u64& outcomes) {
        const Span was = old_image.tables[kRela];
        const u8* const entries = old.data + was.begin;
        const u64 old_count = was.size() / 24;
        u64 relative = 0;
        while (relative < old_count && static_cast<u32>(relocation(entries + 24 * relative).info) == 8) ++relative;
        std::vector<u32> order(old_count);
        {
            std::vector<u64> places(relative);
            for (u64 i = 0; i < relative; ++i) places[i] = map(relocation(entries + 24 * i).place).address;
            for (u64 i = 0; i < old_count; ++i) order[i] = static_cast<u32>(i);
            std::sort(order.begin(), order.begin() + static_cast<i64>(relative), [&](u32 a, u32 b) { return places[a] != places[b] ? places[a] < places[b] : a < b; });
        }
        const int symbols = old_image.find(".dynsym");
        u64 next = 0;
        u32 history = 0;
        Relocation last{0, 8, 0};
        for (u64 at = 0; at < size; at += 24) {
            Relocation real{};
            if constexpr (C::kEncoding) real = relocation(truth.data + at);
            Relocation now{};
            while (true) {
                // Still predicted: the next old entry.
                Relocation guess{};
                u32 certainty = 3;
                u64 addend = 0;
                if (next < old_count) {
                    const Relocation o = relocation(entries + 24 * order[next]);
                    const Prediction place = map(o.place);
                    guess = {place.address, o.info, o.addend};
                    certainty = place.certainty == kCertain ? 0 : 1;
                    if (o.info >> 32 && symbols >= 0) {
                        const u64 table = old_image.sections[static_cast<u64>(symbols)].virtual_address;
                        const u64 symbol = map(table + 24 * (o.info >> 32)).address, start = map(table).address;
                        guess.info = static_cast<u32>(o.info) | ((symbol - start) / 24) << 32;
                    }
                    if (static_cast<u32>(o.info) == 8) {
                        const Prediction target = map(o.addend);
                        guess.addend = target.address;
                        if (target.certainty != kCertain) certainty = certainty ? 3 : 2;
                        addend = o.addend;
                    }
                }
                enum { kAsGuessed, kOtherAddend, kSkip, kNew };
                u32 what = kNew;
                if constexpr (C::kEncoding) {
                    if (next < old_count && real.place == guess.place && real.info == guess.info) what = real.addend == guess.addend ? kAsGuessed : kOtherAddend;
                    else if (next < old_count && guess.place < real.place && (static_cast<u32>(real.info) == 8) == (order[next] < relative)) what = kSkip;
                    else if (next < old_count && order[next] >= relative && skips(entries, order, next, old_count, real, map)) what = kSkip;
                    else if (next < old_count && order[next] < relative && static_cast<u32>(real.info) != 8) what = kSkip;
                }
                if (next < old_count) {
                    Bit* const models = models_[certainty][history & 7];
                    what = coder.code(models[0], what != kAsGuessed, 1000) ? 1 + (coder.code(models[1], what != kOtherAddend) ? 1 + coder.code(models[2], what == kNew) : 0) : kAsGuessed;
                }
                history = history << 1 | (what != kAsGuessed);
                ++outcomes;
                if (what == kNew) {
                    now.place = last.place + unzigzag(place_.code(coder, zigzag(real.place - last.place)));
                    now.info = last.info + unzigzag(info_.code(coder, zigzag(real.info - last.info)));
                    now.addend = last.addend + unzigzag(addend_[0].code(coder, zigzag(real.addend - last.addend)));
                    break;
                }
                ++next;
                if (what == kSkip) continue;
                now = guess;
                if (what == kOtherAddend) {
                    now.addend = guess.addend + unzigzag(addend_[1].code(coder, zigzag(real.addend - guess.addend)));
                    if (static_cast<u32>(guess.info) == 8) map.correct(addend, now.addend);
                }
                break;
            }
            u8 bytes[24];
            store<u64>(bytes, now.place);
            store<u64>(bytes + 8, now.info);
            store<u64>(bytes + 16, now.addend);
            out.write(bytes, 24);
            last = now;
        }
    }

  private:
    static Relocation relocation(const u8* at) { return {load<u64>(at), load<u64>(at + 8), load<u64>(at + 16)}; }
    // Encoding: whether one of the next old entries is the true one, so that those before it go.
    static bool skips(const u8* entries, const std::vector<u32>& order, u64 next, u64 count, const Relocation& real, const AddressMap& map) {
        for (u64 k = next + 1; k < count && k < next + 64; ++k) {
            const Relocation o = relocation(entries + 24 * order[k]);
            if (map(o.place).address == real.place) return true;
        }
        return false;
    }

    Number place_, info_, addend_[2];
    Bit models_[4][8][3]{};
};

}  // namespace suture
