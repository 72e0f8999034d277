// The door of the native kernel: where bytes are crunched, and nothing else. It never touches files, network or clocks.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <optional>

#include "engine.h"

namespace nb = nanobind;

namespace {

using namespace suture;

// FNV-1a, 64 bit: small enough to be checked by hand against the Python reference in suture.delta.kernel.
u64 fnv1a(const u8* bytes, std::size_t size) {
    u64 hash = 0xcbf29ce484222325ULL;
    for (std::size_t i = 0; i < size; ++i) hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
    return hash;
}

// A Python buffer, uncopied, for as long as this lives.
class Borrowed {
  public:
    explicit Borrowed(nb::handle object) {
        if (PyObject_GetBuffer(object.ptr(), &buffer_, PyBUF_SIMPLE) != 0) throw nb::python_error();
    }
    ~Borrowed() { PyBuffer_Release(&buffer_); }
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;
    View view() const { return {static_cast<const u8*>(buffer_.buf), static_cast<u64>(buffer_.len)}; }

  private:
    Py_buffer buffer_;
};

// Thrown out of the engine when Python's output raised.
struct OutputRaised {};

nb::bytes encode_files(nb::handle old, nb::handle now) {
    const Borrowed a(old), b(now);
    std::vector<u8> payload;
    {
        nb::gil_scoped_release release;
        payload = encode(a.view(), b.view(), nullptr);
    }
    return nb::bytes(reinterpret_cast<const char*>(payload.data()), payload.size());
}

void apply_with(View old, View payload, u64 new_size, nb::handle output, Account* account) {
    std::optional<nb::python_error> raised;
    {
        nb::gil_scoped_release release;
        try {
            apply(old, payload, new_size, [&](const u8* bytes, u64 size) {
                if (output.is_none()) return;
                nb::gil_scoped_acquire acquire;
                try {
                    output(nb::bytes(reinterpret_cast<const char*>(bytes), size));
                } catch (nb::python_error& error) {
                    raised.emplace(std::move(error));
                    throw OutputRaised{};
                }
            }, account);
        } catch (const OutputRaised&) {
        }
    }
    if (raised) throw std::move(*raised);
}

void apply_payload(nb::handle old, nb::handle payload, u64 new_size, nb::handle output) {
    const Borrowed a(old), p(payload);
    apply_with(a.view(), p.view(), new_size, output, nullptr);
}

// (part, count, bits) for each part, kind of reference, and use in each section.
nb::list account_of(nb::handle old, nb::handle payload, u64 new_size) {
    static constexpr const char* kParts[] = {"layout", "blocks", "literals", "gaps", "changes", "references", "corrections", "relocations"};
    static constexpr const char* kKindNames[] = {"branch", "rip-relative", "jump-table", "word64", "word32", "unwind", "unwind-back", "index24", "string-index", "slot", "extent"};
    static constexpr const char* kUseNames[] = {"literal", "change", "reference"};
    const Borrowed a(old), p(payload);
    Account account;
    apply_with(a.view(), p.view(), new_size, nb::none(), &account);
    nb::list out;
    const auto add = [&](const char* group, u64 section, const char* name, u64 count, u64 bits) {
        out.append(nb::make_tuple(group, section, name, count, static_cast<double>(bits) / 65536.0));
    };
    for (int i = 0; i < Account::kParts; ++i) add("part", 0, kParts[i], account.count[i], account.bits[i]);
    for (int i = 0; i < kKinds; ++i) add("kind", account.wrong[i], kKindNames[i], account.seen[i], account.kind_bits[i]);
    for (u64 i = 0; i < account.places.size(); ++i)
        for (int u = 0; u < Account::kUses; ++u)
            if (account.places[i].count[u] || account.places[i].bits[u]) add("section", i, kUseNames[u], account.places[i].count[u], account.places[i].bits[u]);
    return out;
}

}  // namespace

NB_MODULE(_kernel, module) {
    module.doc() = "Native kernel of suture.delta; reached only through suture.delta.kernel.";
    module.attr("kernel_version") = 2;
    nb::exception<Malformed>(module, "MalformedError", PyExc_ValueError);
    module.def(
        "self_test", [](nb::bytes bytes) { return fnv1a(static_cast<const u8*>(bytes.data()), bytes.size()); },
        nb::arg("data"), "FNV-1a (64 bit) of `data`; the Python reference must agree.");
    module.def("encode", &encode_files, nb::arg("old"), nb::arg("new"), "A payload of the executable engine, or nothing.");
    module.def("apply", &apply_payload, nb::arg("old"), nb::arg("payload"), nb::arg("new_size"), nb::arg("output").none(),
               "Gives the new bytes to `output`, a chunk at a time. Raises MalformedError.");
    module.def("account", &account_of, nb::arg("old"), nb::arg("payload"), nb::arg("new_size"),
               "Where the bits of a payload go: (group, section or wrong ones, name, count, bits).");
}
