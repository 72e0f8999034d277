// The door of the native kernel: where bytes are crunched, and nothing else. It never touches files,
// network or clocks. Today it holds only its self-test; the delta engine's inner loops come here.
#include <nanobind/nanobind.h>

#include <cstdint>

namespace {

// FNV-1a, 64 bit: small enough to be checked by hand against the Python reference in suture.delta.kernel.
std::uint64_t fnv1a(const std::uint8_t* bytes, std::size_t size) {
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (std::size_t i = 0; i < size; ++i) {
        hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
    }
    return hash;
}

}  // namespace

NB_MODULE(_kernel, module) {
    module.doc() = "Native kernel of suture.delta; reached only through suture.delta.kernel.";
    module.attr("kernel_version") = 1;
    module.def(
        "self_test",
        [](nanobind::bytes bytes) {
            return fnv1a(static_cast<const std::uint8_t*>(bytes.data()), bytes.size());
        },
        nanobind::arg("data"), "FNV-1a (64 bit) of `data`; the Python reference must agree.");
}
