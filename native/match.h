// Encoder only: which parts of the new labelled stream are, nearly, parts of the old one.
#pragma once
#include <vector>

#include "map.h"

namespace suture {

std::vector<Block> match_streams(const std::vector<u8>& old_stream, const std::vector<u8>& new_stream);

}  // namespace suture
