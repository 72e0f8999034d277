"""HDiffPatch by its Python package: `make OLD NEW PATCH` or `apply OLD PATCH NEW`; runs in the peers' environment."""

import sys
from pathlib import Path

import hdiffpatch


def main() -> None:
    """Do one step."""
    verb, old, second, out = sys.argv[1:]
    before, other = Path(old).read_bytes(), Path(second).read_bytes()
    if verb == "make":
        way = hdiffpatch.Lzma2Config(level=9, window=26, threads=1)
        # The bench compares the applied result itself; the package's own check would be counted as making.
        Path(out).write_bytes(hdiffpatch.diff(before, other, compression=way, validate=False))
    else:
        Path(out).write_bytes(hdiffpatch.apply(before, other))


if __name__ == "__main__":
    main()
