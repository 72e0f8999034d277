// Encoder only: the gaps that the matcher left between blocks, aligned byte by byte with the old bytes around them.
#pragma once
#include <vector>

#include "map.h"

namespace suture {

std::vector<Block> align_gaps(const std::vector<u8>& old_stream, const std::vector<u8>& new_stream, const std::vector<Block>& blocks);

}  // namespace suture
