#include "layout.h"

namespace suture {

Span LayoutModel::table_span(const Image& old, const Image& now, int table) {
    const Span& was = old.tables[table];
    if (table == kSectionHeaders) return {now.headers_offset, now.headers_offset + 64 * now.sections.size()};
    for (const Section& s : now.sections) {
        if (s.match < 0 || !s.in_file()) continue;
        const Section& q = old.sections[static_cast<u64>(s.match)];
        if (q.in_file() && q.size && q.offset == was.begin && q.offset + q.size == was.end) return {s.offset, s.offset + s.size};
    }
    return {};
}

void LayoutModel::validate(const Image& now) {
    constexpr u64 kHighest = 1ULL << 43;
    for (const Section& s : now.sections) {
        if (s.address >= kHighest || s.size >= kHighest) throw Malformed("a section's address is out of bounds");
        if (s.in_file() && s.size && (s.offset > now.size || s.size > now.size - s.offset))
            throw Malformed("a section lies outside the file");
    }
    for (int t = 0; t < kTables; ++t) {
        const Span& a = now.tables[t];
        if (a.begin > a.end || a.end > now.size) throw Malformed("a table lies outside the file");
        for (int k = 0; k < t; ++k) {
            const Span& b = now.tables[k];
            if (a.size() && b.size() && a.begin < b.end && b.begin < a.end) throw Malformed("tables overlap");
        }
    }
    if (now.tables[kRela].size() % 24) throw Malformed("a relocation table of broken entries");
}

}  // namespace suture
