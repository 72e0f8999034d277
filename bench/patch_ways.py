"""The peers' ways from one tree to another, each as a command: `patch_ways.py WAY make|apply|prepare OLD NEW PLACE`.

`make` reads OLD and NEW and writes PLACE/patch (a file or a directory of files); `apply` reads OLD and PLACE/patch and
writes the tree NEW. `prepare` does beforehand what a peer's user has already: tufup's archive of the old version. What
PLACE holds besides is not counted as patch.
"""

from __future__ import annotations

import json
import lzma
import shutil
import sys
import tarfile
from pathlib import Path


def read_files(root: Path) -> dict[str, Path]:
    """Every file below `root` by relative path."""
    return {str(path.relative_to(root)): path for path in sorted(root.rglob("*")) if path.is_file()}


def make_tar(tree: Path, path: Path) -> None:
    """A tar whose order and metadata cost as little as they can: sorted, no owners, one time."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, file in read_files(tree).items():
            archive.add(file, arcname=name, recursive=False, filter=plain)


def unpack_tar(path: Path, tree: Path) -> None:
    """Only archives that `make_tar` made are read here."""
    tree.mkdir()
    with tarfile.open(path) as archive:
        archive.extractall(tree, filter="data")


def zstd_full(verb: str, _old: Path, new: Path, place: Path) -> None:
    """The whole new tree, zstd -19 with a window over all of it."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    if verb == "make":
        make_tar(new, place / "tar")
        options = {zstd.CompressionParameter.compression_level: 19, zstd.CompressionParameter.window_log: 27}
        (place / "patch").write_bytes(zstd.compress((place / "tar").read_bytes(), options=options))
    else:
        limit = {zstd.DecompressionParameter.window_log_max: 27}
        (place / "tar").write_bytes(zstd.decompress((place / "patch").read_bytes(), options=limit))
        unpack_tar(place / "tar", new)


def xz_full(verb: str, _old: Path, new: Path, place: Path) -> None:
    """The whole new tree, xz -9e."""
    if verb == "make":
        make_tar(new, place / "tar")
        packed = lzma.compress((place / "tar").read_bytes(), preset=9 | lzma.PRESET_EXTREME)
        (place / "patch").write_bytes(packed)
    else:
        (place / "tar").write_bytes(lzma.decompress((place / "patch").read_bytes()))
        unpack_tar(place / "tar", new)


def tufup(verb: str, old: Path, new: Path, place: Path) -> None:
    """tufup's own code: repo.make_gztar_archive, Patcher.diff_and_hash, Patcher.patch_and_verify, unpack_archive."""
    from tufup.common import Patcher, TargetMeta
    from tufup.repo import make_gztar_archive

    if verb == "prepare":
        make_gztar_archive(src_dir=old, dst_dir=place, app_name="app", version="1.0")
        return
    source, target, patch = place / "app-1.0.tar.gz", place / "app-1.1.tar.gz", place / "patch"
    if verb == "make":
        target.unlink(missing_ok=True)  # else tufup asks at the terminal
        make_gztar_archive(src_dir=new, dst_dir=place, app_name="app", version="1.1")
        expected = Patcher.diff_and_hash(src_path=source, dst_path=target, patch_path=patch)
        (place / "expected.json").write_text(json.dumps(expected))
    else:
        expected = json.loads((place / "expected.json").read_text())
        named = TargetMeta("app-1.1.patch", custom={"user": {}, "tufup": expected})
        made = place / "made.tar.gz"
        Patcher.patch_and_verify(src_path=source, dst_path=made, patch_targets={named: patch})
        shutil.unpack_archive(made, new)


def bsdiff4_same_names(verb: str, old: Path, new: Path, place: Path) -> None:
    """bsdiff4 file by file; a file whose name is new comes whole (xz)."""
    _bsdiff4(verb, old, new, place, {})


def bsdiff4_paired(verb: str, old: Path, new: Path, place: Path) -> None:
    """bsdiff4 file by file, given Suture's own pairs of renamed files."""
    _bsdiff4(verb, old, new, place, json.loads((place / "pairs.json").read_text()))


def _bsdiff4(verb: str, old: Path, new: Path, place: Path, pairs: dict[str, str]) -> None:
    import bsdiff4

    patch, index = place / "patch", place / "index.json"
    before = read_files(old)
    if verb == "make":
        shutil.rmtree(patch, ignore_errors=True)
        patch.mkdir()
        rows = []
        for number, (name, path) in enumerate(read_files(new).items()):
            data, predecessor = path.read_bytes(), pairs.get(name, name)
            known = before[predecessor].read_bytes() if predecessor in before else None
            mode = path.stat().st_mode & 0o777
            rows.append((name, predecessor if known is not None else "", mode, known == data))
            if known != data:
                made = lzma.compress(data, preset=9) if known is None else bsdiff4.diff(known, data)
                (patch / str(number)).write_bytes(made)
        index.write_text(json.dumps(rows))
        return
    for number, (name, predecessor, mode, same) in enumerate(json.loads(index.read_text())):
        target = new / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if same:
            data = before[predecessor].read_bytes()
        elif predecessor:
            data = bsdiff4.patch(before[predecessor].read_bytes(), (patch / str(number)).read_bytes())
        else:
            data = lzma.decompress((patch / str(number)).read_bytes())
        target.write_bytes(data)
        target.chmod(mode)


WAYS = {
    "zstd_full": zstd_full,
    "xz_full": xz_full,
    "tufup": tufup,
    "bsdiff4_same_names": bsdiff4_same_names,
    "bsdiff4_paired": bsdiff4_paired,
}


def main() -> None:
    """Do one step of one way."""
    way, verb, *paths = sys.argv[1:]
    old, new, place = map(Path, paths)
    WAYS[way](verb, old, new, place)


if __name__ == "__main__":
    main()
