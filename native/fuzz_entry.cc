// libFuzzer's entry: any old file and any payload end in new bytes or Malformed, under sanitizers, in bounded time.
// Input: two bytes new size / 4, two bytes old size, then the old file, then the payload.
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined native/fuzz_entry.cc native/{apply,cursor,finder,image,instruction,layout,map,tables}.cc
#include "engine.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace suture;
    if (size < 4) return 0;
    const u64 new_size = static_cast<u64>(load<u16>(data)) * 4;
    const u64 old_size = std::min<u64>(load<u16>(data + 2), size - 4);
    u64 given = 0;
    try {
        apply({data + 4, old_size}, {data + 4 + old_size, size - 4 - old_size}, new_size, [&](const u8*, u64 n) {
            given += n;
            if (given > new_size) __builtin_trap();
        }, nullptr);
        if (given != new_size) __builtin_trap();
    } catch (const Malformed&) {
    }
    return 0;
}
