// Encoder only: a file's plain bytes with every reference replaced by a hash of what it refers to, so that code which did
// not change has the same bytes wherever it and its targets lie. The decoder never sees a label.
#pragma once
#include <vector>

#include "finder.h"

namespace suture {

std::vector<u8> label_stream(View file, const Image& image, const Space& space, const Stream& stream, const Finder& finder);

}  // namespace suture
