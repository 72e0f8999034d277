// The length of one x86-64 instruction, and where its 32-bit operands lie. Table-driven, total: any bytes give an answer.
// Frozen with the reference finder's version: another table is another version.
#pragma once
#include "bytes.h"

namespace suture {

struct Instruction {
    u8 length = 1;     // bytes, at least 1
    u8 relative = 0;   // offset of a branch's 32-bit displacement, or 0
    u8 rip = 0;        // offset of a 32-bit displacement from the next instruction, or 0
    u8 immediate = 0;  // offset of a 32-bit immediate, or 0
    u8 absolute = 0;   // offset of a 32-bit displacement that is not relative to the instruction, or 0
    u8 opcode = 0;     // last opcode byte
    bool table_load = false;  // movsxd with a base and index times four: reads a jump table
    bool lea_rip = false;     // lea of a rip-relative address
};

// Decodes the instruction at `at`; `end` is the section's end, at > end never.
Instruction decode_instruction(const u8* at, const u8* end);

// What the next byte of an instruction is, of which `count` bytes are known (0 at its start): for coding contexts.
enum Field : u8 { kPrefixOrOpcode, kOpcode, kModRm, kSib, kDisp8, kDisp32, kRip, kRelative8, kRelative32, kImm8, kImm32, kImm64, kOther };
struct Progress {
    Field field = kPrefixOrOpcode;
    u8 index = 0;       // which byte of the field
    u8 opcode = 0;      // last opcode byte, once known
    u8 map = 0;         // 0 one-byte, 1 0F, 2 0F38, 3 0F3A
    u8 modrm = 0;       // once known
    u8 tail = 0;        // at a rip-relative displacement: bytes of the instruction after it
    bool done = false;  // the known bytes are a whole instruction
};
Progress progress_of(const u8* bytes, int count);

}  // namespace suture
