// Where the bytes of a patch go: kept only for `explain`, never on a device.
#pragma once
#include <array>
#include <vector>

#include "finder.h"

namespace suture {

// Where the bytes of a patch go, in 1/65536 bits, and how many of each there are.
struct Account {
    enum Part { kLayout, kBlocks, kLiterals, kGaps, kChanges, kReferences, kCorrections, kRelocations, kParts };
    std::array<u64, kParts> bits{}, count{};
    std::array<u64, kKinds> seen{}, wrong{}, kind_bits{};
    // For each new section, and last what lies in none: bits of literals, changed bytes and references, and their counts.
    enum Use { kLiteral, kChange, kReference, kUses };
    struct Place {
        std::array<u64, kUses> bits{}, count{};
    };
    std::vector<Place> places;
};

}  // namespace suture
