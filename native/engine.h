// The two things that this kernel does: make a payload of engine 4, and apply one. Memory in, memory out; no files.
#pragma once
#include <vector>

#include "session.h"

namespace suture {

// The payload that turns old into new, or nothing where a file is too large.
std::vector<u8> encode(View old, View now, Account* account);

// Gives the new bytes to the sink in order. Throws Malformed; what the sink took before that is worthless.
void apply(View old, View payload, u64 new_size, const Output::Sink& sink, Account* account);

}  // namespace suture
