// The walk that encoder and decoder share: the same models, in the same order, over the same places. Everything that a
// patch says is said through `Session`; all of it is bounded by the sizes of the two files.
#pragma once
#include <algorithm>
#include <functional>
#include <memory>

#include "account.h"
#include "block_list.h"
#include "finder.h"
#include "layout.h"
#include "literal.h"
#include "map.h"
#include "output.h"
#include "reference.h"
#include "relocation.h"
#include "tables.h"

namespace suture {

constexpr u8 kFormatVersion = 1;  // of the payload
constexpr u8 kRawFinder = 0, kElfFinder = 1;

template <bool kEncode>
class Session {
  public:
    // truth: the new file (encoding); input: the coded bytes (decoding).
    Session(View old, View truth, View input, u64 new_size, u8 finder, Account* account)
        : old_(old), truth_(truth), new_size_(new_size), coder_(input), account_(account) {
        old_image_.size = old.size;
        new_image_.size = new_size;
        elf_ = finder == kElfFinder;
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
        timed(Account::kBlocks, [&] { literals_ = block_list_.code(coder_, blocks_, old_stream_->size(), new_stream_->size()); });
        if (account_) {
            account_->count[Account::kBlocks] = blocks_.size();
            account_->count[Account::kLiterals] = literals_;
        }
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
            if (!coder_.ends_well()) throw Malformed("the patch does not end where its code does");
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

    void reference_value(const Run& r, u64 skip, const Reference& reference, Output& out) {
        u64 actual = 0;
        if constexpr (kEncode) {
            const u8* const at = truth_.data + r.offset + skip;
            actual = reference.size == 8 ? load<u64>(at) : load<u32>(at);
        }
        const u64 before = account_ ? coder_.spent() : 0;
        const bool wrong = references_.code(coder_, reference, r.offset + skip, *old_space_, *new_space_, *map_, *targets_, actual);
        if (account_) {
            ++account_->seen[reference.kind];
            account_->wrong[reference.kind] += wrong;
            const u64 spent = coder_.spent() - before;
            account_->kind_bits[reference.kind] += spent;
            account_->bits[wrong ? Account::kCorrections : Account::kReferences] += spent;
            note(Account::kReference, r.offset + skip, spent, wrong);
            ++account_->count[wrong ? Account::kCorrections : Account::kReferences];
        }
        u8 bytes[8];
        store<u64>(bytes, actual);
        if (out.room() < 8) {
            out.write(bytes, reference.size);
        } else {
            std::memcpy(out.at(), bytes, 8);
            out.commit(reference.size);
        }
    }

    // --- tables ---------------------------------------------------------------------------------------------------------

    void write_table(int table, Output& out) {
        const Span span = new_image_.tables[table];
        if (table == kRela) {
            u64 outcomes = 0;
            const View truth = kEncode ? View{truth_.data + span.begin, span.size()} : View{};
            timed(Account::kRelocations, [&] { relocations_.code(coder_, old_, old_image_, *map_, truth, span.size(), out, outcomes); });
            if (account_) account_->count[Account::kRelocations] = outcomes;
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
    BlockListModel block_list_;
    Number change_count_;
    Number change_gap_;
    ReferenceModel references_;
    Number shape_;
    RelocationModel relocations_;
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
