#include "engine.h"

namespace suture {

void apply(View old, View payload, u64 new_size, const Output::Sink& sink, Account* account) {
    if (payload.size < 2) throw Malformed("the patch ends too early");
    if (payload.data[0] != kFormatVersion) throw Malformed("a payload of another version");
    if (payload.data[1] > kElfFinder) throw Malformed("a reference finder of another version");
    if (old.size >= kLargestFile || new_size >= kLargestFile) throw Malformed("a file too large for this engine");
    Session<false> session(old, {}, {payload.data + 2, payload.size - 2}, new_size, payload.data[1], account);
    session.run(sink);
}

}  // namespace suture
