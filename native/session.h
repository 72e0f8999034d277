// The walk that encoder and decoder share: the same models, in the same order, over the same places. Everything that a
// patch says is said through `Session`; all of it is bounded by the sizes of the two files.
#pragma once
#include <algorithm>
#include <functional>
#include <memory>

#include "finder.h"
#include "layout.h"
#include "literal.h"
#include "map.h"
#include "tables.h"

namespace suture {

constexpr u8 kFormatVersion = 1;  // of the payload
constexpr u8 kRawFinder = 0, kElfFinder = 1;

// Where the bytes of a patch go, in 1/65536 bits, and how many of each there are.
struct Account {
    enum Part { kLayout, kBlocks, kLiterals, kGaps, kChanges, kReferences, kCorrections, kRelocations, kParts };
    std::array<u64, kParts> bits{}, count{};
    std::array<u64, kKinds> seen{}, wrong{}, kind_bits{};
    // For each new section, and last what lies in none: bits of literals, changed bytes and references, and their counts.
    enum Use { kLiteral, kChange, kReference, kUses };
    struct Place {
        std::array<u64, kUses> bits{}, count{};
    };
    std::vector<Place> places;
};

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

struct Relocation {
    u64 place, info, addend;
};

template <bool kEncode>
class Session {
  public:
    // truth: the new file (encoding); input: the coded bytes (decoding).
    Session(View old, View truth, View input, u64 new_size, u8 finder, Account* account)
        : old_(old), truth_(truth), new_size_(new_size), coder_(input), account_(account) {
        old_image_.size = old.size;
        new_image_.size = new_size;
        elf_ = finder == kElfFinder;
        for (auto& kind : wrong_)
            for (auto& certainty : kind)
                for (auto& history : certainty)
                    for (Bit& model : history) model.p = (&certainty == &kind[kCertain]) ? 1U << 14 : 1U << 20;
        if (elf_) {
            if (!parse_elf(old, old_image_)) throw Malformed("the old file is not the kind of executable that the patch was made for");
            find_tables(old, old_image_);
        }
    }
    Image& new_image() { return new_image_; }
    const Image& old_image() const { return old_image_; }
    std::vector<Block>& blocks() { return blocks_; }
    std::vector<u8> finish() { return coder_.finish(); }

    void run(Output::Sink sink) {
        timed(Account::kLayout, [&] {
            if (elf_) layout_.code(coder_, old_image_, new_image_);
        });
        old_space_ = std::make_unique<Space>(old_image_);
        new_space_ = std::make_unique<Space>(new_image_);
        old_stream_ = std::make_unique<Stream>(old_image_);
        new_stream_ = std::make_unique<Stream>(new_image_);
        timed(Account::kBlocks, [&] { code_blocks(); });
        finder_ = std::make_unique<Finder>(old_, old_image_, *old_space_);
        cursor_ = std::make_unique<Finder::Cursor>(*finder_);
        map_ = std::make_unique<AddressMap>(old_image_, new_image_, *old_space_, *new_space_, *old_stream_, *new_stream_, blocks_);
        literal_ = std::make_unique<LiteralModel>(literals_);
        targets_ = std::make_unique<TargetModel>(literals_);
        for (const Section& s : new_image_.sections)
            if (s.in_file() && s.code() && s.size) code_spans_.push_back({s.offset, s.offset + s.size});
        if constexpr (kEncode) collect_changes();
        changes_left_ = change_count_.code(coder_, changes_.size());
        if (changes_left_ > new_size_) throw Malformed("more changed bytes than bytes");
        changed_ = std::make_unique<ChangedModel>(changes_left_);
        watch_ = std::make_unique<WatchModel>(changes_left_);
        if (account_) account_->count[Account::kChanges] = changes_left_;
        next_gap();
        plan();
        for (Part& p : hoisted_) {
            p.output = std::make_unique<Output>(p.span.size(), nullptr);
            walk(p.span, *p.output);
        }
        Output out(256 * 1024, std::move(sink));
        for (const Part& p : parts_) {
            if (p.hoisted >= 0) {
                const View v = hoisted_[static_cast<u64>(p.hoisted)].output->whole();
                out.write(v.data, v.size);
            } else if (p.table >= 0) {
                write_table(p.table, out);
            } else {
                walk(p.span, out);
            }
        }
        out.flush();
        if constexpr (!kEncode) {
            if (changes_left_) throw Malformed("changed bytes are left over");
            if (!coder_.used_all()) throw Malformed("bytes follow the end of the patch");
        }
    }

    // Whether the real table of the new file is what the device would rebuild (encoding).
    static bool rebuilds(View truth, const Image& image, const Image& old_image, int table);

  private:
    struct Part {
        Span span;  // of the file
        int table = -1, hoisted = -1;
        std::unique_ptr<Output> output;
    };

    template <class F>
    void timed(Account::Part part, F&& f) {
        const u64 before = account_ ? coder_.spent() : 0;
        f();
        if (account_) account_->bits[part] += coder_.spent() - before;
    }

    // Notes where bits went by section of the new file.
    void note(Account::Use use, u64 offset, u64 bits, u64 count) {
        if (!account_) return;
        auto& places = account_->places;
        if (places.empty()) places.resize(new_image_.sections.size() + 1);
        u64 i = note_section_;
        const auto holds = [&](const Section& q) { return q.in_file() && offset - q.offset < q.size; };
        if (i >= new_image_.sections.size() || !holds(new_image_.sections[i])) {
            i = 0;
            while (i < new_image_.sections.size() && !holds(new_image_.sections[i])) ++i;
            note_section_ = i;
        }
        places[i].bits[use] += bits;
        places[i].count[use] += count;
    }

    // --- the block list -------------------------------------------------------------------------------------------

    void code_blocks() {
        const u64 count = block_count_.code(coder_, blocks_.size());
        const u64 old_size = old_stream_->size(), new_size = new_stream_->size();
        if (count > new_size) throw Malformed("more blocks than bytes");
        if constexpr (!kEncode) blocks_.reserve(std::min<u64>(count, 1U << 16));
        u64 to = 0, from = 0;  // ends of the block before
        u32 last_way = 0, last_gap = 0;
        literals_ = 0;
        std::array<u64, 4> ways{};  // differences from - to of earlier blocks, the latest first
        for (u64 i = 0; i < count; ++i) {
            Block b{};
            if constexpr (kEncode) b = blocks_[i];
            const u64 gap = gaps_[std::min<u32>(last_way, 2)].code(coder_, b.to - to);
            if (gap > new_size - to) throw Malformed("a block begins outside the new file");
            const u64 start = to + gap;
            // Where from: on with the old bytes as if nothing was inserted, as if as much was replaced, on the way of
            // an earlier block, or elsewhere.
            const u64 here = kEncode ? b.from : 0;
            const std::array<u64, 5> guesses = {from + gap, from, start + ways[1], start + ways[2], start + ways[3]};
            u32 way = 0;
            const u32 gap_class = gap == 0 ? 0 : gap < 8 ? 1 : 2;
            Bit* const models = way_[last_way][gap_class];
            for (; way < guesses.size(); ++way)
                if (coder_.code(models[way], here == guesses[way])) break;
            u64 place = 0;
            if (way < guesses.size()) {
                place = guesses[way];
            } else {
                const u64 difference = unzigzag(seek_[std::min<u32>(last_gap, 2)].code(coder_, zigzag(here - guesses[0])));
                place = guesses[0] + difference;
            }
            const u64 size = size_[way < 5 ? way != 0 : 2].code(coder_, b.size - 1ULL) + 1;
            if (place > old_size || size > old_size - place || size > new_size - start) throw Malformed("a block reaches outside a file");
            if constexpr (!kEncode) blocks_.push_back({static_cast<u32>(start), static_cast<u32>(place), static_cast<u32>(size)});
            literals_ += gap;
            to = start + size;
            from = place + size;
            const u64 difference = place - start;
            u32 k = 0;
            while (k < 3 && ways[k] != difference) ++k;
            for (; k; --k) ways[k] = ways[k - 1];
            ways[0] = difference;
            last_way = way;
            last_gap = gap_class;
        }
        literals_ += new_size - to;
        if (account_) {
            account_->count[Account::kBlocks] = count;
            account_->count[Account::kLiterals] = literals_;
        }
    }

    // --- the plan: which parts of the file come first, because tables follow from them -------------------------------

    void hoist(std::string_view label) {
        for (const Section& s : new_image_.sections) {
            if (s.match < 0 || old_image_.sections[static_cast<u64>(s.match)].label != label || !s.in_file()) continue;
            Part p;
            p.span = {s.offset, s.offset + s.size};
            const i64 begin = new_stream_->position_of(s.offset);
            const i64 last = new_stream_->position_of(s.offset + s.size - 1);
            if (!s.size || begin < 0 || last < 0 || static_cast<u64>(last - begin) != s.size - 1) throw Malformed("a table's source is no plain bytes");
            for (const Part& q : hoisted_)
                if (q.span.begin < p.span.end && p.span.begin < q.span.end) throw Malformed("sections overlap");
            hoisted_bytes_ += s.size;
            if (hoisted_bytes_ > kMostHoisted) throw Malformed("a table's source is too large");
            p.hoisted = static_cast<int>(hoisted_.size());
            hoisted_labels_[hoisted_.size()] = label;
            hoisted_addresses_[hoisted_.size()] = s.virtual_address;
            hoisted_.push_back(std::move(p));
            return;
        }
        throw Malformed("a table's source is missing");
    }

    void plan() {
        if (new_image_.tables[kSymbolHash].size()) {
            hoist(".dynsym");
            hoist(".dynstr");
        }
        if (new_image_.tables[kUnwindHeader].size()) hoist(".eh_frame");
        std::vector<Part> fixed;
        for (u64 i = 0; i < hoisted_.size(); ++i) {
            Part p;
            p.span = hoisted_[i].span;
            p.hoisted = static_cast<int>(i);
            fixed.push_back(std::move(p));
        }
        for (int t = 0; t < kTables; ++t) {
            if (!new_image_.tables[t].size()) continue;
            Part p;
            p.span = new_image_.tables[t];
            p.table = t;
            fixed.push_back(std::move(p));
        }
        std::sort(fixed.begin(), fixed.end(), [](auto& a, auto& b) { return a.span.begin < b.span.begin; });
        u64 at = 0;
        for (Part& f : fixed) {
            plain_part(at, f.span.begin);
            at = f.span.end;
            parts_.push_back(std::move(f));
        }
        plain_part(at, new_size_);
    }
    void plain_part(u64 begin, u64 end) {
        if (begin >= end) return;
        Part p;
        p.span = {begin, end};
        parts_.push_back(std::move(p));
    }
    View hoisted(std::string_view label, u64& address) const {
        for (u64 i = 0; i < hoisted_.size(); ++i)
            if (hoisted_labels_[i] == label) {
                address = hoisted_addresses_[i];
                return hoisted_[i].output->whole();
            }
        throw Malformed("a table's source is missing");
    }

    // --- the walk over plain bytes ------------------------------------------------------------------------------------

    // One part of a block, or of what lies between blocks.
    struct Run {
        u64 position, size, offset;  // in the new stream, in the new file
        i64 block;                   // index, or -1 for literals
        u64 from;                    // offset in the old file, for blocks
        u64 next;                    // index of the first block after
    };

    // Calls `visit` for every run of a span of the new file that lies in one piece of its stream.
    template <class F>
    void runs(Span span, F&& visit) {
        u64 at = static_cast<u64>(new_stream_->position_of(span.begin));
        const u64 end = at + span.size(), offset = span.begin - at;
        u64 i = static_cast<u64>(std::upper_bound(blocks_.begin(), blocks_.end(), at, [](u64 p, auto& b) { return p < b.to + static_cast<u64>(b.size); }) - blocks_.begin());
        while (at < end) {
            const u64 begin = i < blocks_.size() ? blocks_[i].to : end;
            if (at < begin) {
                const u64 stop = std::min(begin, end);
                visit(Run{at, stop - at, at + offset, -1, 0, i});
                at = stop;
                continue;
            }
            const Block& b = blocks_[i];
            const u64 stop = std::min<u64>(end, b.to + static_cast<u64>(b.size));
            while (at < stop) {
                const u64 position = b.from + (at - b.to);
                const Stream::Piece& piece = old_stream_->piece_at(position);
                const u64 size = std::min(stop - at, piece.position + piece.size - position);
                visit(Run{at, size, at + offset, static_cast<i64>(i), piece.offset + (position - piece.position), i});
                at += size;
            }
            if (at == b.to + static_cast<u64>(b.size)) ++i;
        }
    }

    void walk(Span span, Output& out) {
        runs(span, [&](const Run& r) {
            if (r.block < 0) literal_run(r, out);
            else block_run(r, out);
        });
    }

    u8 old_byte(i64 position) const {
        if (position < 0 || static_cast<u64>(position) >= old_stream_->size()) return 0;
        return old_.data[old_stream_->offset_of(static_cast<u64>(position))];
    }
    bool in_code(u64 offset) const {
        for (const Span& s : code_spans_)
            if (s.holds(offset)) return true;
        return false;
    }

    void literal_run(const Run& r, Output& out) {
        const u64 before = account_ ? coder_.spent() : 0;
        i64 forward = 0, backward = 0;  // old stream position less new one
        if (r.next) forward = static_cast<i64>(blocks_[r.next - 1].from) - blocks_[r.next - 1].to;
        if (r.next < blocks_.size()) backward = static_cast<i64>(blocks_[r.next].from) - blocks_[r.next].to;
        Surroundings s;
        s.code = in_code(r.offset);
        out.room();
        literal_->begin_run(out.at(), s.code);
        const i64 start = static_cast<i64>(r.position);
        u8 last = old_byte(start + forward - 1), here = old_byte(start + forward);
        for (u64 i = 0; i < r.size; ++i) {
            out.room();
            const i64 position = start + static_cast<i64>(i);
            s.before = out.at();
            s.offset = r.offset + i;
            s.aligned_last = last;
            s.aligned = here;
            s.aligned_next = old_byte(position + forward + 1);
            s.backward = old_byte(position + backward);
            Progress progress;
            if (s.code && r.size - i >= 4 && literal_->at_reference(s.before, progress)) {
                literal_reference(progress, s, position, forward, backward, out);
                i += 3;
                last = old_byte(position + forward + 3);
                here = old_byte(position + forward + 4);
                continue;
            }
            *out.at() = literal_->code(coder_, kEncode ? truth_.data[s.offset] : 0, s);
            out.commit(1);
            last = here;
            here = s.aligned_next;
        }
        if (account_) {
            account_->bits[Account::kLiterals] += coder_.spent() - before;
            note(Account::kLiteral, r.offset, coder_.spent() - before, r.size);
        }
    }

    // What a displacement at an old stream position goes to in the new file, if the same instruction seems to be there.
    u64 suggested(i64 position, const u8* before, u32 tail) {
        if (position < 1 || static_cast<u64>(position) + 4 > old_stream_->size() || old_byte(position - 1) != before[-1]) return ~0ULL;
        u8 bytes[4];
        for (int k = 0; k < 4; ++k) bytes[k] = old_byte(position + k);
        const u64 next = old_space_->address_of(old_stream_->offset_of(static_cast<u64>(position))) + 4 + tail;
        const u64 target = next + static_cast<u64>(static_cast<i64>(load<i32>(bytes)));
        return old_image_.range.holds(target) ? (*map_)(target).address : ~0ULL;
    }

    void literal_reference(const Progress& progress, Surroundings& s, i64 position, i64 forward, i64 backward, Output& out) {
        const bool call = progress.field == kRelative32;
        const u64 next = new_space_->address_of(s.offset) + 4 + progress.tail;
        const u64 guesses[2] = {suggested(position + forward, s.before, progress.tail), suggested(position + backward, s.before, progress.tail)};
        u32 target = 0;
        if constexpr (kEncode) target = static_cast<u32>(next + load<u32>(truth_.data + s.offset));
        target = targets_->code(coder_, call, target, guesses, next);
        u8 bytes[4];
        store<u32>(bytes, target - static_cast<u32>(next));
        for (int k = 0; k < 4; ++k) {
            out.room();
            s.before = out.at();
            s.aligned = old_byte(position + forward + k);
            literal_->accept(bytes[k], s);
            *out.at() = bytes[k];
            out.commit(1);
        }
    }

    // The cursor at the first reference at or after an old offset.
    void find_references(u64 from) {
        if (from < cursor_at_ || from - cursor_at_ > kWorthSeeking || !cursor_ready_) {
            cursor_->seek(from);
            cursor_ready_ = true;
        } else {
            while (cursor_->peek() && cursor_->peek()->offset < from) cursor_->advance();
        }
        cursor_at_ = from;
    }

    // Calls `plain(skip, size)` and `reference(skip, reference)` for the parts of a run, in order.
    template <class P, class R>
    void parts_of(const Run& r, P&& plain, R&& reference) {
        if (!elf_) {
            plain(0, r.size);
            return;
        }
        find_references(r.from);
        u64 at = 0;
        while (at < r.size) {
            const Reference* const next = cursor_->peek();
            if (!next || next->offset >= r.from + r.size || next->offset + next->size > r.from + r.size) {
                plain(at, r.size - at);
                break;
            }
            const u64 skip = next->offset - r.from;
            if (skip > at) plain(at, skip - at);
            reference(skip, *next);
            at = skip + next->size;
            cursor_at_ = next->offset + next->size;
            cursor_->advance();
            while (cursor_->peek() && cursor_->peek()->offset < cursor_at_) cursor_->advance();
        }
    }

    void collect_changes() {
        const auto collect = [&](Span span) {
            runs(span, [&](const Run& r) {
                if (r.block < 0) return;
                parts_of(r, [&](u64 skip, u64 size) {
                    const u8* const a = old_.data + r.from + skip;
                    const u8* const b = truth_.data + r.offset + skip;
                    for (u64 i = 0; i < size; ++i) {
                        if (i + 8 <= size && load<u64>(a + i) == load<u64>(b + i)) {
                            i += 7;
                            plain_seen_ += 8;
                            continue;
                        }
                        if (a[i] != b[i]) changes_.push_back(plain_seen_);
                        ++plain_seen_;
                    }
                }, [](u64, const Reference&) {});
            });
        };
        plan();
        for (const Part& p : hoisted_) collect(p.span);
        for (const Part& p : parts_)
            if (p.hoisted < 0 && p.table < 0) collect(p.span);
        hoisted_.clear();
        parts_.clear();
        hoisted_bytes_ = 0;
        cursor_ready_ = false;
    }

    // How many plain bytes of blocks are as they were, until the next change, beyond those that were watched.
    void next_gap() {
        watched_ = 0;
        gap_ = ~0ULL;
        if (!changes_left_) return;
        const u64 before = account_ ? coder_.spent() : 0;
        u64 value = 0;
        if constexpr (kEncode) value = changes_[change_index_] - plain_at_;
        gap_ = change_gap_.code(coder_, value);
        if (account_) account_->bits[Account::kGaps] += coder_.spent() - before;
    }

    void block_run(const Run& r, Output& out) {
        parts_of(r, [&](u64 skip, u64 size) { plain_bytes(r, skip, size, out); },
                 [&](u64 skip, const Reference& reference) { reference_value(r, skip, reference, out); });
    }

    void plain_bytes(const Run& r, u64 skip, u64 size, Output& out) {
        while (size) {
            if (watched_) {
                watch(r, skip, out);
                ++skip;
                --size;
                continue;
            }
            const u64 part = std::min({size, gap_, out.room()});
            std::memcpy(out.at(), old_.data + r.from + skip, part);
            out.commit(part);
            skip += part;
            size -= part;
            plain_at_ += part;
            if (gap_ != ~0ULL) gap_ -= part;
            if (gap_ == 0 && size) {
                changed_byte(r, skip, out);
                ++skip;
                --size;
            }
        }
    }

    // One byte soon after a change: it is asked for alone.
    void watch(const Run& r, u64 skip, Output& out) {
        const u64 before = account_ ? coder_.spent() : 0;
        out.room();
        const u64 from = r.from + skip, offset = r.offset + skip;
        const u32 distance = WatchModel::kWatched - watched_;
        bool changes = false;
        if constexpr (kEncode) changes = truth_.data[offset] != old_.data[from];
        changes = watch_->code(coder_, changes, old_.data + from, old_.size - from, out.at(), distance, last_gap_, gap_before_,
                               changed_->last_difference(), offset, place_class(offset));
        if (account_) {
            account_->bits[Account::kGaps] += coder_.spent() - before;
            note(Account::kChange, offset, coder_.spent() - before, 0);
        }
        if (changes) {
            changed_byte(r, skip, out);
            return;
        }
        *out.at() = old_.data[from];
        out.commit(1);
        ++plain_at_;
        if (!--watched_) next_gap();
    }

    void changed_byte(const Run& r, u64 skip, Output& out) {
        const u64 before = account_ ? coder_.spent() : 0;
        out.room();
        Surroundings s;
        s.before = out.at();
        s.aligned = old_.data[r.from + skip];
        s.aligned_next = old_.byte_or_zero(r.from + skip + 1);
        s.offset = r.offset + skip;
        s.code = in_code(s.offset);
        *out.at() = changed_->code(coder_, kEncode ? truth_.data[s.offset] : 0, s);
        out.commit(1);
        if (account_) account_->bits[Account::kChanges] += coder_.spent() - before;
        note(Account::kChange, s.offset, account_ ? coder_.spent() - before : 0, 1);
        gap_before_ = last_gap_;
        last_gap_ = plain_at_ - after_change_;
        ++plain_at_;
        after_change_ = plain_at_;
        if constexpr (kEncode) ++change_index_;
        gap_ = ~0ULL;
        watched_ = --changes_left_ ? WatchModel::kWatched : 0;
    }

    // Which kind of section, for contexts.
    u32 place_class(u64 offset) {
        if (place_section_ >= new_image_.sections.size() || offset - new_image_.sections[place_section_].offset >= new_image_.sections[place_section_].size || !new_image_.sections[place_section_].in_file()) {
            place_section_ = 0;
            while (place_section_ < new_image_.sections.size() && !(new_image_.sections[place_section_].in_file() && offset - new_image_.sections[place_section_].offset < new_image_.sections[place_section_].size)) ++place_section_;
        }
        return static_cast<u32>(place_section_) & 63;
    }

    // --- references ----------------------------------------------------------------------------------------------------

    void reference_value(const Run& r, u64 skip, const Reference& reference, Output& out) {
        const Kind kind = reference.kind;
        const u64 place = new_space_->address_of(r.offset + skip);
        const u64 old_place = reference.kind <= kRipRelative || kind == kUnwind || kind == kUnwindBack ? old_space_->address_of(reference.offset) : 0;
        u64 base = 0;
        if (kind == kBranch || kind == kRipRelative || kind == kUnwind || kind == kUnwindBack) base = place + (reference.base - old_place);
        else if (kind == kJumpTable || kind == kIndex24 || kind == kStringIndex || kind == kExtent) base = (*map_)(reference.base).address;
        const Prediction p = kind == kExtent ? map_->end(reference.target) : (*map_)(reference.target);
        u64 value = p.address;
        if (kind == kUnwindBack) value = base - value;
        else if (kind == kIndex24) value = (value - base) / 24;
        else if (kind != kWord64 && kind != kWord32 && kind != kSlot) value -= base;
        if (reference.size == 4) value &= 0xFFFFFFFFU;
        u64 actual = value;
        if constexpr (kEncode) actual = reference.size == 8 ? load<u64>(truth_.data + r.offset + skip) : load<u32>(truth_.data + r.offset + skip);
        const u64 before = account_ ? coder_.spent() : 0;
        u32& history = history_[kind];
        const bool wrong = coder_.code(wrong_[kind][p.certainty][history & 7][global_history_ & 1], actual != value, 1000);
        history = history << 1 | static_cast<u32>(wrong);
        global_history_ = global_history_ << 1 | static_cast<u32>(wrong);
        if (wrong) {
            const u64 error = correction(kind, actual - value, reference.size);
            actual = value + error;
            if (reference.size == 4) actual &= 0xFFFFFFFFU;
            if (kind != kExtent) {
                const u64 step = kind == kUnwindBack ? 0 - error : kind == kIndex24 ? error * 24 : error;
                map_->correct(reference.target, p.address + step);
            }
        } else if (p.certainty == kGuessed && kind != kExtent) {
            map_->confirm(reference.target, p.address);
        }
        if (account_) {
            ++account_->seen[kind];
            account_->wrong[kind] += wrong;
            const u64 spent = coder_.spent() - before;
            account_->kind_bits[kind] += spent;
            account_->bits[wrong ? Account::kCorrections : Account::kReferences] += spent;
            note(Account::kReference, r.offset + skip, spent, wrong);
            ++account_->count[wrong ? Account::kCorrections : Account::kReferences];
        }
        if (kind <= kRipRelative) targets_->saw(kind == kBranch, base + actual);
        if (out.room() < 8) {
            u8 bytes[8];
            store<u64>(bytes, actual);
            out.write(bytes, reference.size);
        } else {
            if (reference.size == 8) store<u64>(out.at(), actual);
            else store<u32>(out.at(), static_cast<u32>(actual));
            out.commit(reference.size);
        }
    }

    u64 correction(Kind kind, u64 error, u32 size) {
        if (size == 4) error = static_cast<u64>(static_cast<i64>(static_cast<i32>(error)));
        u64& last = last_error_[kind];
        if (coder_.code(same_error_[kind], error == last)) return last;
        error = unzigzag(error_[kind].code(coder_, zigzag(error)));
        last = error;
        return error;
    }

    // --- tables ---------------------------------------------------------------------------------------------------------

    void write_table(int table, Output& out) {
        const Span span = new_image_.tables[table];
        if (table == kRela) {
            timed(Account::kRelocations, [&] { relocations(span, out); });
            return;
        }
        std::vector<u8> bytes;
        u64 address = 0;
        if (table == kSectionHeaders) {
            bytes = build_section_headers(new_image_);
        } else if (table == kUnwindHeader) {
            const View unwind = hoisted(".eh_frame", address);
            bytes = build_unwind_header(unwind, address, new_space_->address_of(span.begin), span.size());
        } else {
            HashShape shape, was;
            read_hash_shape({old_.data + old_image_.tables[table].begin, old_image_.tables[table].size()}, was);
            if constexpr (kEncode) read_hash_shape({truth_.data + span.begin, span.size()}, shape);
            for (u32 HashShape::*field : {&HashShape::buckets, &HashShape::first_symbol, &HashShape::bloom_words, &HashShape::bloom_shift})
                shape.*field = static_cast<u32>(was.*field + unzigzag(shape_.code(coder_, zigzag(static_cast<u64>(shape.*field) - was.*field))));
            const View symbols = hoisted(".dynsym", address), strings = hoisted(".dynstr", address);
            bytes = build_symbol_hash(shape, symbols, strings, span.size());
        }
        out.write(bytes.data(), bytes.size());
    }

    static Relocation relocation(const u8* at) { return {load<u64>(at), load<u64>(at + 8), load<u64>(at + 16)}; }

    // .rela.dyn: every old entry through the map, the relative ones in their new order, and what that gets wrong.
    void relocations(Span span, Output& out) {
        const Span was = old_image_.tables[kRela];
        const u8* const entries = old_.data + was.begin;
        const u64 old_count = was.size() / 24;
        u64 relative = 0;
        while (relative < old_count && static_cast<u32>(relocation(entries + 24 * relative).info) == 8) ++relative;
        std::vector<u32> order(old_count);
        {
            std::vector<u64> places(relative);
            for (u64 i = 0; i < relative; ++i) places[i] = (*map_)(relocation(entries + 24 * i).place).address;
            for (u64 i = 0; i < old_count; ++i) order[i] = static_cast<u32>(i);
            std::sort(order.begin(), order.begin() + static_cast<i64>(relative), [&](u32 a, u32 b) { return places[a] != places[b] ? places[a] < places[b] : a < b; });
        }
        const int symbols = old_image_.find(".dynsym");
        u64 next = 0;
        u32 history = 0;
        Relocation last{0, 8, 0};
        for (u64 at = span.begin; at < span.end; at += 24) {
            Relocation truth{};
            if constexpr (kEncode) truth = relocation(truth_.data + at);
            Relocation now{};
            while (true) {
                // Still predicted: the next old entry.
                Relocation guess{};
                u32 certainty = 3;
                u64 addend = 0;
                if (next < old_count) {
                    const Relocation o = relocation(entries + 24 * order[next]);
                    const Prediction place = (*map_)(o.place);
                    guess = {place.address, o.info, o.addend};
                    certainty = place.certainty == kCertain ? 0 : 1;
                    if (o.info >> 32 && symbols >= 0) {
                        const u64 table = old_image_.sections[static_cast<u64>(symbols)].virtual_address;
                        const u64 symbol = (*map_)(table + 24 * (o.info >> 32)).address, start = (*map_)(table).address;
                        guess.info = static_cast<u32>(o.info) | ((symbol - start) / 24) << 32;
                    }
                    if (static_cast<u32>(o.info) == 8) {
                        const Prediction target = (*map_)(o.addend);
                        guess.addend = target.address;
                        if (target.certainty != kCertain) certainty = certainty ? 3 : 2;
                        addend = o.addend;
                    }
                }
                enum { kAsGuessed, kOtherAddend, kSkip, kNew };
                u32 what = kNew;
                if constexpr (kEncode) {
                    if (next < old_count && truth.place == guess.place && truth.info == guess.info) what = truth.addend == guess.addend ? kAsGuessed : kOtherAddend;
                    else if (next < old_count && guess.place < truth.place && (static_cast<u32>(truth.info) == 8) == (order[next] < relative)) what = kSkip;
                    else if (next < old_count && order[next] >= relative && skips(entries, order, next, old_count, truth, symbols)) what = kSkip;
                    else if (next < old_count && order[next] < relative && static_cast<u32>(truth.info) != 8) what = kSkip;
                }
                if (next < old_count) {
                    Bit* const models = relocation_[certainty][history & 7];
                    what = coder_.code(models[0], what != kAsGuessed, 1000) ? 1 + (coder_.code(models[1], what != kOtherAddend) ? 1 + coder_.code(models[2], what == kNew) : 0) : kAsGuessed;
                }
                history = history << 1 | (what != kAsGuessed);
                if (account_) ++account_->count[Account::kRelocations];
                if (what == kNew) {
                    now.place = last.place + unzigzag(place_.code(coder_, zigzag(truth.place - last.place)));
                    now.info = last.info + unzigzag(info_.code(coder_, zigzag(truth.info - last.info)));
                    now.addend = last.addend + unzigzag(addend_[0].code(coder_, zigzag(truth.addend - last.addend)));
                    break;
                }
                ++next;
                if (what == kSkip) continue;
                now = guess;
                if (what == kOtherAddend) {
                    now.addend = guess.addend + unzigzag(addend_[1].code(coder_, zigzag(truth.addend - guess.addend)));
                    if (static_cast<u32>(guess.info) == 8) map_->correct(addend, now.addend);
                }
                break;
            }
            u8 bytes[24];
            store<u64>(bytes, now.place);
            store<u64>(bytes + 8, now.info);
            store<u64>(bytes + 16, now.addend);
            out.write(bytes, 24);
            last = now;
        }
    }

    // Encoding: whether one of the next old entries is the true one, so that those before it go.
    bool skips(const u8* entries, const std::vector<u32>& order, u64 next, u64 count, const Relocation& truth, int symbols) const {
        (void)symbols;
        for (u64 k = next + 1; k < count && k < next + 64; ++k) {
            const Relocation o = relocation(entries + 24 * order[k]);
            if ((*map_)(o.place).address == truth.place) return true;
        }
        return false;
    }

    static constexpr u64 kMostHoisted = 32ULL << 20;
    static constexpr u64 kWorthSeeking = 4096;

    View old_, truth_;
    u64 new_size_;
    Coder<kEncode> coder_;
    Account* account_;
    u64 note_section_ = 0;
    bool elf_ = false;
    Image old_image_, new_image_;
    std::vector<Block> blocks_;
    u64 literals_ = 0;
    std::unique_ptr<Space> old_space_, new_space_;
    std::unique_ptr<Stream> old_stream_, new_stream_;
    std::unique_ptr<Finder> finder_;
    std::unique_ptr<Finder::Cursor> cursor_;
    u64 cursor_at_ = 0;
    bool cursor_ready_ = false;
    std::unique_ptr<AddressMap> map_;
    std::unique_ptr<LiteralModel> literal_;
    std::unique_ptr<TargetModel> targets_;
    std::unique_ptr<ChangedModel> changed_;
    std::unique_ptr<WatchModel> watch_;
    std::vector<Span> code_spans_;
    std::vector<Part> hoisted_, parts_;
    std::array<std::string_view, 3> hoisted_labels_{};
    std::array<u64, 3> hoisted_addresses_{};
    u64 hoisted_bytes_ = 0;
    std::vector<u64> changes_;
    u64 change_index_ = 0, plain_seen_ = 0, changes_left_ = 0;
    // Plain bytes of blocks: how many so far, how many until the next change, the last gaps, where the last change ended.
    u64 plain_at_ = 0, gap_ = ~0ULL, last_gap_ = 64, gap_before_ = 64, after_change_ = 0;
    u32 watched_ = 0;
    u64 place_section_ = 0;

    LayoutModel layout_;
    Number block_count_, change_count_;
    std::array<Number, 3> gaps_{}, seek_{}, size_{};
    Bit way_[6][3][5]{};
    Number change_gap_;
    Bit wrong_[kKinds][3][8][2]{};
    Bit same_error_[kKinds]{};
    std::array<Number, kKinds> error_{};
    std::array<u64, kKinds> last_error_{};
    std::array<u32, kKinds> history_{};
    u32 global_history_ = 0;
    Number shape_, place_, info_, addend_[2];
    Bit relocation_[4][8][3]{};
};

template <bool kEncode>
bool Session<kEncode>::rebuilds(View truth, const Image& image, const Image& old_image, int table) {
    const Span span = image.tables[table];
    const auto section = [&](std::string_view label) -> const Section* {
        for (const Section& s : image.sections)
            if (s.match >= 0 && old_image.sections[static_cast<u64>(s.match)].label == label && s.in_file()) return &s;
        return nullptr;
    };
    std::vector<u8> bytes;
    if (table == kSectionHeaders) {
        bytes = build_section_headers(image);
    } else if (table == kUnwindHeader) {
        const Section* s = section(".eh_frame");
        if (!s) return false;
        bytes = build_unwind_header({truth.data + s->offset, s->size}, s->virtual_address, Space(image).address_of(span.begin), span.size());
    } else if (table == kSymbolHash) {
        const Section *symbols = section(".dynsym"), *strings = section(".dynstr");
        HashShape shape;
        if (!symbols || !strings || !read_hash_shape({truth.data + span.begin, span.size()}, shape)) return false;
        bytes = build_symbol_hash(shape, {truth.data + symbols->offset, symbols->size}, {truth.data + strings->offset, strings->size}, span.size());
    } else {
        return span.size() % 24 == 0;
    }
    return bytes.size() == span.size() && std::memcmp(bytes.data(), truth.data + span.begin, bytes.size()) == 0;
}

}  // namespace suture
