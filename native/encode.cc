#include "align.h"
#include "engine.h"
#include "label.h"
#include "match.h"

namespace suture {
namespace {

// Mixing contexts takes two microseconds a byte on the device: a file that is mostly new is for another engine.
constexpr u64 kMostLiterals = 6ULL << 20;

// Which old section each new one continues: the next of the same name, else any.
void match_sections(const Image& old, Image& now) {
    i64 expected = 0;
    const i64 count = static_cast<i64>(old.sections.size());
    for (Section& s : now.sections) {
        s.match = -1;
        for (i64 k = 0; k < count && s.match < 0; ++k) {
            const i64 j = (expected + k) % count;
            if (old.sections[static_cast<u64>(j)].label == s.label && old.sections[static_cast<u64>(j)].type == s.type) s.match = j;
        }
        if (s.match >= 0) expected = s.match + 1;
    }
}

void match_tables(const Image& old, View truth, Image& now) {
    const auto parsed = now.tables;
    for (int t = 0; t < kTables; ++t) {
        now.tables[t] = {};
        if (!old.tables[t].size() || !parsed[t].size()) continue;
        const Span span = LayoutModel::table_span(old, now, t);
        if (span.begin != parsed[t].begin || span.end != parsed[t].end) continue;
        now.tables[t] = span;
        if (!Session<true>::rebuilds(truth, now, old, t)) now.tables[t] = {};
    }
}

std::vector<u8> labelled(View file, const Image& image, const Stream& stream) {
    const Space space(image);
    const Finder finder(file, image, space);
    return label_stream(file, image, space, stream, finder);
}

}  // namespace

std::vector<u8> encode(View old, View now, Account* account) {
    if (old.size >= kLargestFile || now.size >= kLargestFile) return {};
    Image old_image, new_image;
    const bool elf = parse_elf(old, old_image) && parse_elf(now, new_image);
    Session<true> session(old, now, {}, now.size, elf ? kElfFinder : kRawFinder, account);
    if (elf) {
        find_tables(now, new_image);
        match_sections(session.old_image(), new_image);
        match_tables(session.old_image(), now, new_image);
        session.new_image() = new_image;
    }
    {
        const std::vector<u8> a = labelled(old, session.old_image(), Stream(session.old_image()));
        const std::vector<u8> b = labelled(now, session.new_image(), Stream(session.new_image()));
        session.blocks() = align_gaps(a, b, match_streams(a, b));
        u64 literals = b.size();
        for (const Block& block : session.blocks()) literals -= block.size;
        if (literals > kMostLiterals || session.blocks().size() > kMostBlocks) return {};
    }
    session.run([](const u8*, u64) {});
    std::vector<u8> code = session.finish();
    std::vector<u8> payload = {kFormatVersion, elf ? kElfFinder : kRawFinder};
    payload.insert(payload.end(), code.begin(), code.end());
    return payload;
}

}  // namespace suture
