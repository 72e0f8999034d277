// Plain words for bytes: views with checked reads, and the one exception that says that an input is malformed.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace suture {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

// Bad input, never a bug of ours: becomes PatchError at the door.
struct Malformed : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Files of this engine are smaller, so that stream positions fit 32 bits with room to add.
constexpr u64 kLargestFile = 1ULL << 31;

struct View {
    const u8* data = nullptr;
    u64 size = 0;

    bool holds(u64 offset, u64 count) const { return offset <= size && count <= size - offset; }
    template <class T>
    T read(u64 offset) const {
        if (!holds(offset, sizeof(T))) throw Malformed("a read outside the file");
        T value;
        std::memcpy(&value, data + offset, sizeof value);
        return value;
    }
    // The byte there, or 0 outside: for contexts, where nothing depends on the truth.
    u8 byte_or_zero(u64 offset) const { return offset < size ? data[offset] : 0; }
};

template <class T>
T load(const u8* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}
template <class T>
void store(u8* at, T value) {
    std::memcpy(at, &value, sizeof value);
}

// Zigzag: small magnitudes of either sign become small numbers; wraps modulo 2^64.
inline u64 zigzag(u64 difference) {
    return (difference << 1) ^ (0 - (difference >> 63));
}
inline u64 unzigzag(u64 value) {
    return (value >> 1) ^ (0 - (value & 1));
}

}  // namespace suture
