// Tables that follow from other bytes: rebuilt on the device at no cost, used only where the rebuilt one is the real one.
#pragma once
#include <vector>

#include "image.h"

namespace suture {

// Finds the tables of the old file.
void find_tables(View file, Image& image);

// .eh_frame_hdr (LSB, "Exception Frames") from the new .eh_frame.
std::vector<u8> build_unwind_header(View unwind, u64 unwind_address, u64 header_address, u64 size);

// .gnu.hash from the new .dynsym and .dynstr.
struct HashShape {
    u32 buckets = 0, first_symbol = 0, bloom_words = 0, bloom_shift = 0;
};
bool read_hash_shape(View table, HashShape& shape);
std::vector<u8> build_symbol_hash(const HashShape& shape, View symbols, View strings, u64 size);

// The section headers from the layout.
std::vector<u8> build_section_headers(const Image& image);

}  // namespace suture
