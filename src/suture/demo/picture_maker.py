"""Makes the demo's pictures, and the thumbnails that they must give, with the baseline's own PIL.

Stand-alone (``python -I -B picture_maker.py --root ROOT --out DIRECTORY PHOTOGRAPH…``), before anything is improved. It
keeps the photographs as they are and adds crops and scalings of them in each kind (JPEG, PNG, WebP lossy and lossless:
CVE-2023-4863 sits in the lossless decoder). Each thumbnail is kept as the SHA-256 of its PPM bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

THUMBNAIL_SIZES = (64, 96, 160)
CROPS = 9
"""Per kind and photograph; the largest photograph gives as many of each kind."""
SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}


def make_pictures(image: Any, photographs: list[Path], out: Path) -> None:
    """Write the photographs and their crops to `out`."""
    for number, path in enumerate(photographs):
        (out / f"{number}-original{path.suffix}").write_bytes(path.read_bytes())
        with image.open(path) as opened:
            photograph = opened.convert("RGB")
        width, height = photograph.size
        for crop in range(CROPS if number == 0 else 2):
            left, top = width * crop // 20, height * crop // 24
            piece = photograph.crop((left, top, left + width // 2, top + height // 2))
            piece = piece.resize((max(piece.width - 7 * crop, 40), max(piece.height - 5 * crop, 40)))
            for kind, suffix in SUFFIXES.items():
                words: dict[str, object] = {"lossless": True} if kind == "WEBP" and crop % 2 else {}
                piece.save(out / f"{number}-crop{crop}.{suffix}", kind, **words)


def thumbnail(image: Any, path: Path, size: int) -> bytes:
    """The PPM (P6) bytes that the service must give for `path`."""
    with image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((size, size), image.Resampling.LANCZOS)
    return b"P6 %d %d 255\n" % small.size + bytes(small.tobytes())


def describe(image: Any, version: str, out: Path) -> dict[str, object]:
    """What the load client and the service's own check compare with."""
    pictures = {}
    for path in sorted(out.iterdir()):
        with image.open(path) as picture:
            kind = picture.format
        digests = {str(size): hashlib.sha256(thumbnail(image, path, size)).hexdigest() for size in THUMBNAIL_SIZES}
        pictures[path.name] = {"kind": kind, "bytes": path.stat().st_size, "thumbnails": digests}
    return {"made_with": version, "pictures": pictures}


def main() -> int:
    """Parse, make, describe."""
    parser = argparse.ArgumentParser(description="pictures for the demo")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--expectations", type=Path, required=True)
    parser.add_argument("photographs", type=Path, nargs="+")
    words = parser.parse_args()
    sys.path.insert(0, str(words.root / "imaging"))
    import PIL
    from PIL import Image

    words.out.mkdir(parents=True)
    make_pictures(Image, words.photographs, words.out)
    words.expectations.write_text(json.dumps(describe(Image, PIL.__version__, words.out), indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
