// Where new bytes go: in order, a chunk at a time.
#pragma once
#include <algorithm>
#include <functional>
#include <vector>

#include "bytes.h"

namespace suture {

// New bytes in order, with the last 64 always at hand before `at()`.
class Output {
  public:
    using Sink = std::function<void(const u8*, u64)>;
    static constexpr u64 kBefore = 64;
    // A chunked way to a sink, or, with none, a buffer for exactly `capacity` bytes.
    Output(u64 capacity, Sink sink) : buffer_(kBefore + capacity), sink_(std::move(sink)) {}
    u8* at() { return &buffer_[used_]; }
    u64 room() {
        if (used_ == buffer_.size()) flush();
        return buffer_.size() - used_;
    }
    void commit(u64 n) { used_ += n; }
    void write(const u8* bytes, u64 n) {
        while (n) {
            const u64 part = std::min(n, room());
            std::memcpy(at(), bytes, part);
            commit(part);
            bytes += part;
            n -= part;
        }
    }
    void flush() {
        if (used_ > kBefore && sink_) sink_(&buffer_[kBefore], used_ - kBefore);
        if (!sink_) throw Malformed("a table of more bytes than it has");
        std::memmove(&buffer_[0], &buffer_[used_ - kBefore], kBefore);
        used_ = kBefore;
    }
    View whole() const { return {&buffer_[kBefore], used_ - kBefore}; }

  private:
    std::vector<u8> buffer_;
    u64 used_ = kBefore;
    Sink sink_;
};

}  // namespace suture
