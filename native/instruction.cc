#include "instruction.h"

#include <array>

namespace suture {
namespace {

enum : u16 { kM = 1, kI8 = 2, kIz = 4, kBad = 8, kRel = 16, kRel8 = 32, kIw = 64, kAm = 128, kPre = 256 };
using Table = std::array<u16, 256>;

constexpr Table one_byte() {
    Table t{};
    for (int b = 0; b < 0x40; b += 8) {
        for (int i = 0; i < 4; ++i) t[b + i] = kM;
        t[b + 4] = kI8;
        t[b + 5] = kIz;
        t[b + 6] = t[b + 7] = kBad;
    }
    for (int i : {0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0x82, 0x9a, 0xd4, 0xd5, 0xd6, 0xea, 0xce}) t[i] = kBad;
    t[0x63] = kM;
    t[0x68] = kIz;
    t[0x69] = kM | kIz;
    t[0x6a] = kI8;
    t[0x6b] = kM | kI8;
    for (int i = 0x70; i < 0x80; ++i) t[i] = kRel8;
    t[0x80] = kM | kI8;
    t[0x81] = kM | kIz;
    t[0x83] = kM | kI8;
    for (int i = 0x84; i < 0x90; ++i) t[i] = kM;
    for (int i = 0xa0; i < 0xa4; ++i) t[i] = kAm;
    t[0xa8] = kI8;
    t[0xa9] = kIz;
    for (int i = 0xb0; i < 0xb8; ++i) t[i] = kI8;
    for (int i = 0xb8; i < 0xc0; ++i) t[i] = kIz;
    t[0xc0] = t[0xc1] = kM | kI8;
    t[0xc2] = kIw;
    t[0xc6] = kM | kI8;
    t[0xc7] = kM | kIz;
    t[0xc8] = kIw | kI8;
    t[0xca] = kIw;
    t[0xcd] = kI8;
    for (int i = 0xd0; i < 0xd4; ++i) t[i] = kM;
    for (int i = 0xd8; i < 0xe0; ++i) t[i] = kM;
    for (int i = 0xe0; i < 0xe8; ++i) t[i] = kI8;
    t[0xe8] = t[0xe9] = kRel;
    t[0xeb] = kRel8;
    t[0xf6] = t[0xf7] = kM;
    t[0xfe] = t[0xff] = kM;
    for (int i : {0x66, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0x67, 0xf0}) t[i] = kPre;
    return t;
}

constexpr Table two_byte() {
    Table t{};
    for (int i = 0; i < 256; ++i) t[i] = kM;
    for (int i : {4, 5, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0xe, 0x77, 0xa0, 0xa1, 0xa2, 0xa8, 0xa9, 0xaa}) t[i] = 0;
    for (int i = 0x30; i < 0x38; ++i) t[i] = 0;
    for (int i = 0xc8; i < 0xd0; ++i) t[i] = 0;
    for (int i = 0x80; i < 0x90; ++i) t[i] = kRel;
    for (int i : {0x70, 0x71, 0x72, 0x73, 0xa4, 0xac, 0xba, 0xc2, 0xc4, 0xc5, 0xc6, 0x0f}) t[i] |= kI8;
    return t;
}

constexpr Table kOne = one_byte();
constexpr Table kTwo = two_byte();
constexpr int kMostPrefixes = 14;

// The opcode's flags, once all its bytes are read; kBad for one that ends the instruction after its first byte.
u16 vector_flags(int map, u8 opcode) {
    if (map == 1) return opcode == 0x77 ? 0 : (kTwo[opcode] & kI8) | kM;
    if (map == 2 || map == 5 || map == 6) return kM;
    if (map == 3) return kM | kI8;
    return kBad;
}

// The common shapes, a byte each: whether a ModRM follows, how many immediate bytes, and which of them are a field.
enum : u8 { kFastModRm = 1, kFastSlow = 2, kFastRel = 4, kFastImm32 = 8 };  // above: immediate bytes << 4
using FastTable = std::array<u8, 256>;

constexpr FastTable fast(const Table& table, bool first) {
    FastTable t{};
    for (int i = 0; i < 256; ++i) {
        const u16 f = table[i];
        u8 v = f & kM ? kFastModRm : 0;
        const int size = (f & kI8 ? 1 : 0) + (f & kRel8 ? 1 : 0) + (f & (kRel | kIz) ? 4 : 0);
        v |= static_cast<u8>(size << 4);
        if (f & kRel) v |= kFastRel;
        if (f & kIz) v |= kFastImm32;
        if (f & (kBad | kPre | kIw | kAm)) v = kFastSlow;
        t[i] = v;
    }
    if (first) {
        for (int i : {0x0f, 0xc4, 0xc5, 0x62, 0xf6, 0xf7}) t[i] = kFastSlow;
        for (int i = 0xb8; i < 0xc0; ++i) t[i] = kFastSlow;  // REX.W makes their immediate 8 bytes
        for (int i = 0x40; i < 0x50; ++i) t[i] = kFastSlow;
    } else {
        t[0x38] = t[0x3a] = kFastSlow;
    }
    return t;
}

// Of a ModRM byte: displacement bytes, and what is special.
enum : u8 { kHasSib = 8, kIsRip = 16, kIsAbsolute = 32 };
constexpr FastTable modrm() {
    FastTable t{};
    for (int m = 0; m < 256; ++m) {
        const int mod = m >> 6, rm = m & 7;
        u8 v = mod == 1 ? 1 : mod == 2 ? 4 | kIsAbsolute : 0;
        if (mod == 0 && rm == 5) v = 4 | kIsRip;
        if (mod != 3 && rm == 4) v |= kHasSib;
        t[m] = v;
    }
    return t;
}

constexpr FastTable kFastOne = fast(kOne, true);
constexpr FastTable kFastTwo = fast(kTwo, false);
constexpr FastTable kMemory = modrm();
constexpr int kEnough = 20;  // no fast instruction has more bytes

Instruction decode_slowly(const u8* at, const u8* end);

}  // namespace

Instruction decode_instruction(const u8* const at, const u8* const end) {
    if (end - at < kEnough) return decode_slowly(at, end);
    const u8* q = at;
    if ((*q & 0xf0) == 0x40) ++q;
    u8 op = *q;
    u8 f = kFastOne[op];
    const bool two = op == 0x0f;
    if (two) {
        op = *++q;
        f = kFastTwo[op];
    }
    if (f & kFastSlow) return decode_slowly(at, end);
    ++q;
    Instruction r;
    r.opcode = op;
    if (f & kFastModRm) {
        const u8 m = *q++;
        const u8 x = kMemory[m];
        int displacement = x & 7;
        u8 absolute = x & kIsAbsolute;
        if (x & kHasSib) {
            const u8 s = *q++;
            const bool bare = m < 0x40 && (s & 7) == 5;
            displacement = bare ? 4 : displacement;
            absolute |= bare;
            r.table_load = !two && op == 0x63 && (s >> 6) == 2;
        }
        const u8 place = static_cast<u8>(q - at);
        r.rip = x & kIsRip ? place : 0;
        r.lea_rip = (x & kIsRip) && op == 0x8d && !two;
        r.absolute = absolute ? place : 0;
        q += displacement;
    }
    const u8 place = static_cast<u8>(q - at);
    r.relative = f & kFastRel ? place : 0;
    r.immediate = f & kFastImm32 ? static_cast<u8>(place + (f >> 4) - 4) : 0;
    r.length = static_cast<u8>(place + (f >> 4));
    return r;
}

namespace {

Instruction decode_slowly(const u8* const at, const u8* const end) {
    Instruction r;
    const u8* q = at;
    bool narrow = false, wide = false;
    while (q < end && q - at < kMostPrefixes && kOne[*q] == kPre) narrow |= *q++ == 0x66;
    if (q < end && (*q & 0xf0) == 0x40) wide = *q++ & 8;
    if (q >= end) return r;
    u8 op = *q++;
    u16 f = kOne[op];
    int map = 0;
    if (op == 0x0f) {
        if (q >= end) return r;
        op = *q++;
        if (op == 0x38 || op == 0x3a) {
            map = op == 0x38 ? 2 : 3;
            f = op == 0x38 ? kM : kM | kI8;
            if (q >= end) return r;
            op = *q++;
        } else {
            map = 1;
            f = kTwo[op];
        }
    } else if (op == 0xc5 || op == 0xc4 || op == 0x62) {
        const int payload = op == 0xc5 ? 1 : op == 0xc4 ? 2 : 3;
        if (end - q <= payload) return r;
        map = op == 0xc5 ? 1 : op == 0xc4 ? *q & 31 : *q & 7;
        q += payload;
        op = *q++;
        f = vector_flags(map, op);
    }
    if (f & (kBad | kPre)) return r;
    u8 rip = 0, absolute = 0, relative = 0, immediate = 0;
    bool table_load = false, lea = false;
    if (f & kM) {
        if (q >= end) return r;
        const u8 m = *q++;
        const int mod = m >> 6, rm = m & 7;
        if (map == 0 && (op & 0xfe) == 0xf6 && ((m >> 3) & 7) < 2) f |= op == 0xf6 ? kI8 : kIz;
        if (mod != 3) {
            if (rm == 4) {
                if (q >= end) return r;
                const u8 s = *q++;
                if (mod == 0 && (s & 7) == 5) {
                    absolute = static_cast<u8>(q - at);
                    q += 4;
                }
                table_load = map == 0 && op == 0x63 && (s >> 6) == 2;
            } else if (mod == 0 && rm == 5) {
                rip = static_cast<u8>(q - at);
                q += 4;
                lea = map == 0 && op == 0x8d;
            }
            if (mod == 1) ++q;
            if (mod == 2) {
                absolute = static_cast<u8>(q - at);
                q += 4;
            }
        }
    }
    if (f & kIw) q += 2;
    if (f & kI8) ++q;
    if (f & kRel8) ++q;
    if (f & kRel) {
        relative = static_cast<u8>(q - at);
        q += 4;
    }
    if (f & kAm) q += 8;
    if (f & kIz) {
        if (map == 0 && op >= 0xb8 && op < 0xc0 && wide) {
            q += 8;
        } else if (narrow) {
            q += 2;
        } else {
            immediate = static_cast<u8>(q - at);
            q += 4;
        }
    }
    if (q > end) return r;
    r.length = static_cast<u8>(q - at);
    r.relative = relative;
    r.rip = rip;
    r.immediate = immediate;
    r.absolute = absolute;
    r.opcode = op;
    r.table_load = table_load;
    r.lea_rip = lea;
    return r;
}

}  // namespace

Progress progress_of(const u8* const bytes, const int count) {
    Progress r;
    int q = 0;
    bool narrow = false, wide = false;
    // Says that the field of `size` bytes at q holds the next byte.
    const auto within = [&](Field field, int size) {
        if (count < q + size) {
            r.field = field;
            r.index = static_cast<u8>(count - q);
            return true;
        }
        q += size;
        return false;
    };
    while (q < count && q < kMostPrefixes && kOne[bytes[q]] == kPre) narrow |= bytes[q++] == 0x66;
    if (q < count && (bytes[q] & 0xf0) == 0x40) wide = bytes[q++] & 8;
    if (q >= count) return r;
    u8 op = bytes[q++];
    u16 f = kOne[op];
    int map = 0;
    if (op == 0x0f) {
        if (within(kOpcode, 1)) return r;
        op = bytes[q - 1];
        map = 1;
        f = kTwo[op];
        if (op == 0x38 || op == 0x3a) {
            map = op == 0x38 ? 2 : 3;
            f = op == 0x38 ? kM : kM | kI8;
            r.map = static_cast<u8>(map);
            if (within(kOpcode, 1)) return r;
            op = bytes[q - 1];
        }
    } else if (op == 0xc5 || op == 0xc4 || op == 0x62) {
        const int payload = op == 0xc5 ? 1 : op == 0xc4 ? 2 : 3;
        if (within(kOther, payload)) return r;
        map = op == 0xc5 ? 1 : op == 0xc4 ? bytes[q - payload] & 31 : bytes[q - payload] & 7;
        if (within(kOpcode, 1)) return r;
        op = bytes[q - 1];
        f = vector_flags(map, op);
    }
    r.opcode = op;
    r.map = static_cast<u8>(map);
    if (f & (kBad | kPre)) {
        r.done = true;
        return r;
    }
    if (f & kM) {
        if (within(kModRm, 1)) return r;
        const u8 m = bytes[q - 1];
        r.modrm = m;
        const int mod = m >> 6, rm = m & 7;
        if (map == 0 && (op & 0xfe) == 0xf6 && ((m >> 3) & 7) < 2) f |= op == 0xf6 ? kI8 : kIz;
        if (mod != 3) {
            if (rm == 4) {
                if (within(kSib, 1)) return r;
                if (mod == 0 && (bytes[q - 1] & 7) == 5 && within(kDisp32, 4)) return r;
            } else if (mod == 0 && rm == 5 && within(kRip, 4)) {
                r.tail = static_cast<u8>((f & kI8 ? 1 : 0) + (f & kIz ? (narrow ? 2 : 4) : 0));
                return r;
            }
            if (mod == 1 && within(kDisp8, 1)) return r;
            if (mod == 2 && within(kDisp32, 4)) return r;
        }
    }
    if ((f & kIw) && within(kOther, 2)) return r;
    if ((f & kI8) && within(kImm8, 1)) return r;
    if ((f & kRel8) && within(kRelative8, 1)) return r;
    if ((f & kRel) && within(kRelative32, 4)) return r;
    if ((f & kAm) && within(kImm64, 8)) return r;
    if (f & kIz) {
        if (map == 0 && op >= 0xb8 && op < 0xc0 && wide) {
            if (within(kImm64, 8)) return r;
        } else if (narrow) {
            if (within(kOther, 2)) return r;
        } else if (within(kImm32, 4)) {
            return r;
        }
    }
    r.done = true;
    return r;
}

}  // namespace suture
