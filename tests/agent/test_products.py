"""Bad product files, each with its message and nothing changed; vendors that must not meet; forgetting a product."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suture.adapters.files import exclusive_lock
from suture.agent import product_rules
from suture.agent.places import Places
from suture.agent.products import ProductShelf
from suture.core.canonical import canonical_json
from suture.core.errors import BusyError, InputError, NotKnownError, RefusedError, StorageError, SutureError

Document = dict[str, Any]
FIRST_ROOT = "sha256:" + "ab" * 32


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "state", tmp_path / "configuration")


@pytest.fixture
def shelf(places: Places) -> ProductShelf:
    return ProductShelf(places)


def make_document(base: Path, name: str = "darkroom", vendor: str = "Acme") -> Document:
    """A good product file's content, with its baseline laid out below `base`."""
    root = base / f"{name}-1.0"
    (root / "lib/imaging").mkdir(parents=True, exist_ok=True)
    (root / "lib/tls").mkdir(parents=True, exist_ok=True)
    return {
        "format": "suture-product/1",
        "product": name,
        "title": name.title(),
        "vendor": vendor,
        "release": {"kind": "fixed", "version": "1.0"},
        "root": str(root),
        "components": [{"name": "imaging", "path": "lib/imaging"}],
        "repositories": ["https://updates.example/darkroom"],
        "first_root": FIRST_ROOT,
        "pointer": str(base / f"{name}-current"),
    }


@pytest.fixture
def document(tmp_path: Path) -> Document:
    return make_document(tmp_path)


def write(base: Path, document: Document, name: str = "handed-out.json") -> Path:
    path = base / name
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_a_good_file_is_stored_canonically_and_its_pointer_made(
    shelf: ProductShelf, places: Places, tmp_path: Path, document: Document
) -> None:
    product = shelf.add(write(tmp_path, document))
    assert shelf.list() == (product,)
    assert shelf.get("darkroom") == product
    stored = places.product_file("darkroom").read_bytes()
    assert stored == canonical_json(json.loads(stored))
    pointer = Path(document["pointer"])
    assert pointer.is_symlink()
    assert os.readlink(pointer) == document["root"]


def test_adding_the_same_again_changes_nothing_and_a_newer_file_updates(
    shelf: ProductShelf, places: Places, tmp_path: Path, document: Document
) -> None:
    shelf.add(write(tmp_path, document))
    before = places.product_file("darkroom").read_bytes()
    shelf.add(write(tmp_path, document))
    assert places.product_file("darkroom").read_bytes() == before
    document["title"] = "Darkroom for two"
    shelf.add(write(tmp_path, document))
    assert shelf.get("darkroom").title == "Darkroom for two"


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("another format", {"format": "suture-product/2"}, "format"),
    ("an unknown field", {"install_hook": "/bin/sh"}, "install_hook"),
    ("an unknown field within", {"components": [{"name": "a", "path": "lib/tls", "mode": 7}]}, "mode"),
    ("a name that climbs", {"product": "../darkroom"}, "product"),
    ("a name with a newline", {"product": "darkroom\n"}, "control character in $.product"),
    ("a title with an escape", {"title": "\x1b[2J"}, "control character in $.title"),
    ("a number for a title", {"title": 7}, "title"),
    ("no component", {"components": []}, "components"),
    ("a component that climbs", {"components": [{"name": "a", "path": "lib/../../etc"}]}, "components[0].path"),
    ("a component with a dot", {"components": [{"name": "a", "path": "./lib"}]}, "components[0].path"),
    ("a component with an empty part", {"components": [{"name": "a", "path": "lib//tls"}]}, "components[0].path"),
    ("an absolute component", {"components": [{"name": "a", "path": "/etc"}]}, "path"),
    ("a component that is not there", {"components": [{"name": "a", "path": "lib/gone"}]}, "components[0].path"),
    (
        "a component in another",
        {"components": [{"name": "a", "path": "lib"}, {"name": "b", "path": "lib/tls"}]},
        "overlaps the component a",
    ),
    (
        "a component twice",
        {"components": [{"name": "a", "path": "lib/tls"}, {"name": "a", "path": "lib/imaging"}]},
        "same name",
    ),
    ("a root that is not there", {"root": "/nowhere/at/all"}, "root"),
    ("a root that is a file", {"root": "/etc/passwd"}, "root"),
    ("a root that climbs", {"root": "/usr/../etc"}, "root"),
    ("no pointer", {"pointer": None}, "pointer"),
    ("a pointer that climbs", {"pointer": "/usr/../etc/x"}, "pointer"),
    ("http to the world", {"repositories": ["http://updates.example/x"]}, "https"),
    ("http to a name like loopback", {"repositories": ["http://127.0.0.1.evil.example/x"]}, "https"),
    ("http to localhost's cousin", {"repositories": ["http://localhost@evil.example/x"]}, "repositories[0]"),
    ("an address with a query", {"repositories": ["https://a.example/x?y"]}, "repositories[0]"),
    ("an address with a bad port", {"repositories": ["https://a.example:99999/x"]}, "repositories[0]"),
    ("an address with a broken host", {"repositories": ["https://[::1/x"]}, "repositories[0]"),
    ("an address that climbs", {"repositories": ["https://a.example/x/../y"]}, "repositories[0]"),
    ("another scheme", {"repositories": ["file:///etc"]}, "repositories"),
    ("a short digest", {"first_root": "sha256:abcd"}, "first_root"),
    ("an MD5 digest", {"first_root": "md5:" + "ab" * 16}, "first_root"),
    ("a relative command", {"commands": [{"name": "a", "argv": ["sh", "-c", "x"]}]}, "commands[0].argv"),
    ("two commands of one name", {"commands": [{"name": "a", "argv": ["/bin/true"]}] * 2}, "same name"),
    ("a check out of the machine", {"urls": [{"name": "a", "url": "http://evil.example/"}]}, "urls"),
    ("a broken pattern", {"release": {"kind": "file", "path": "/x", "pattern": "(["}}, "release.pattern"),
    ("a pattern without a group", {"release": {"kind": "file", "path": "/x", "pattern": "a+"}}, "no group"),
    ("a long pattern", {"release": {"kind": "file", "path": "/x", "pattern": "(a)" + "b" * 200}}, "pattern"),
    ("a relative release command", {"release": {"kind": "command", "argv": ["x"]}}, "release.argv"),
    ("a package with an option", {"release": {"kind": "dpkg", "package": "--admindir=/tmp"}}, "package"),
    ("a version that climbs", {"release": {"kind": "fixed", "version": "1..0"}}, "version"),
    ("another way to detect", {"release": {"kind": "rpm"}}, "release"),
    ("a unit that is an option", {"units": ["--now"]}, "units"),
]


@pytest.mark.parametrize(("change", "word"), [(c, w) for _, c, w in BAD], ids=[name for name, _, _ in BAD])
def test_a_bad_file_names_the_field_and_changes_nothing(
    shelf: ProductShelf, places: Places, tmp_path: Path, document: Document, change: dict[str, Any], word: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    path = write(tmp_path, {**document, **change})
    with pytest.raises(InputError) as caught:
        shelf.add(path)
    assert word in caught.value.message
    assert caught.value.message.startswith("cannot ")
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])


def test_files_that_are_no_product_file(shelf: ProductShelf, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        shelf.add(tmp_path / "gone")
    with pytest.raises(InputError, match="directory"):
        shelf.add(tmp_path)
    path = tmp_path / "x.json"
    for content in (b"", b"{", b"[]", b"\xff\xfe", b'"\\ud800"', b"[" * 5000, b"\x00" * 10):
        path.write_bytes(content)
        with pytest.raises(InputError):
            shelf.add(path)
    path.write_bytes(b" " * (256 * 1024 + 1))
    with pytest.raises(InputError, match="larger than"):
        shelf.add(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(
        ["format", "product", "release", "root", "components", "repositories", "pointer", "units", "commands", "run_as"]
    ),
)
def test_no_value_of_any_field_ends_in_anything_but_our_errors(tmp_path: Path, value: object, field: str) -> None:
    document = {**make_document(tmp_path), field: value}
    with contextlib.suppress(SutureError):
        product = product_rules.decode_product(json.dumps(document).encode(), "x")
        product_rules.check_product(product, state=tmp_path / "state", is_root=False)


def test_a_component_behind_a_link_is_refused(shelf: ProductShelf, tmp_path: Path, document: Document) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (Path(document["root"]) / "linked").symlink_to(outside)
    document["components"] = [{"name": "a", "path": "linked"}]
    with pytest.raises(InputError, match="symbolic link"):
        shelf.add(write(tmp_path, document))


def test_a_pointer_inside_the_root_or_around_it_is_refused(
    shelf: ProductShelf, tmp_path: Path, document: Document
) -> None:
    for pointer in (document["root"] + "/current", str(tmp_path), document["root"]):
        with pytest.raises(InputError, match="overlaps the root"):
            shelf.add(write(tmp_path, {**document, "pointer": pointer}))
    (tmp_path / "way-in").symlink_to(document["root"])
    with pytest.raises(InputError, match="overlaps the root"):
        shelf.add(write(tmp_path, {**document, "pointer": str(tmp_path / "way-in/current")}))


def test_a_component_or_pointer_that_touches_the_state_directory_is_refused(tmp_path: Path, document: Document) -> None:
    inside = Places(Path(document["root"]) / "lib/imaging/state", tmp_path / "c")
    with pytest.raises(InputError, match="state directory"):
        ProductShelf(inside).add(write(tmp_path, document))
    around = Places(tmp_path / "around", tmp_path / "c")
    with pytest.raises(InputError, match="state directory"):
        ProductShelf(around).add(write(tmp_path, {**document, "pointer": str(tmp_path / "around/current")}))


def test_commands_as_root_need_a_user_that_exists(tmp_path: Path, document: Document) -> None:
    document["commands"] = [{"name": "a", "argv": ["/bin/true"]}]
    for run_as, word in ((None, "is missing"), ("no_such_user_here", "no user")):
        product = product_rules.decode_product(json.dumps({**document, "run_as": run_as}).encode(), "x")
        with pytest.raises(InputError, match=word):
            product_rules.check_product(product, state=tmp_path / "state", is_root=True)
        product_rules.check_product(product, state=tmp_path / "state", is_root=False)


@pytest.mark.parametrize("kind", ["file", "directory", "link elsewhere", "dangling link"])
def test_whatever_stands_where_the_pointer_should_be_stays(
    shelf: ProductShelf, places: Places, tmp_path: Path, document: Document, kind: str
) -> None:
    pointer = Path(document["pointer"])
    if kind == "file":
        pointer.write_bytes(b"precious")
    elif kind == "directory":
        pointer.mkdir()
    else:
        pointer.symlink_to("/etc" if kind == "link elsewhere" else "/nowhere")
    before = os.lstat(pointer)
    with pytest.raises(InputError, match="pointer"):
        shelf.add(write(tmp_path, document))
    assert os.lstat(pointer).st_ino == before.st_ino
    assert shelf.list() == ()


def test_a_pointer_at_the_root_or_into_our_store_is_taken_over(
    shelf: ProductShelf, places: Places, tmp_path: Path, document: Document
) -> None:
    pointer = Path(document["pointer"])
    pointer.symlink_to(document["root"])
    shelf.add(write(tmp_path, document))
    level = places.store / "darkroom/1.0-x86_64/1/tree"
    level.mkdir(parents=True)
    pointer.unlink()
    pointer.symlink_to(level)
    shelf.add(write(tmp_path, document))
    assert pointer.resolve() == level
    assert shelf.improvement_in_place(shelf.get("darkroom"))


def test_a_pointer_in_a_directory_that_everybody_may_write_is_refused(
    shelf: ProductShelf, tmp_path: Path, document: Document
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(StorageError, match="everybody may write"):
        shelf.add(write(tmp_path, {**document, "pointer": str(tmp_path / "open/current")}))


def test_a_second_first_root_is_refused_and_the_first_stays(
    shelf: ProductShelf, tmp_path: Path, document: Document
) -> None:
    shelf.add(write(tmp_path, document))
    with pytest.raises(RefusedError) as caught:
        shelf.add(write(tmp_path, {**document, "first_root": "sha256:" + "cd" * 32}))
    assert "suture product remove darkroom" in caught.value.advice
    assert shelf.get("darkroom").first_root == FIRST_ROOT


def test_a_layout_does_not_move_under_an_improvement_in_place(
    shelf: ProductShelf, places: Places, tmp_path: Path, document: Document
) -> None:
    shelf.add(write(tmp_path, document))
    level = places.store / "darkroom/1.0-x86_64/1/tree"
    level.mkdir(parents=True)
    pointer = Path(document["pointer"])
    pointer.unlink()
    pointer.symlink_to(level)
    with pytest.raises(RefusedError, match="level in place"):
        shelf.add(write(tmp_path, {**document, "pointer": str(tmp_path / "another")}))
    assert shelf.get("darkroom").pointer == document["pointer"]


@pytest.mark.parametrize("field", ["root", "component", "pointer"])
def test_two_vendors_never_share_files(shelf: ProductShelf, tmp_path: Path, document: Document, field: str) -> None:
    shelf.add(write(tmp_path, document))
    other = make_document(tmp_path, "lightroom", "Other")
    if field == "root":
        other["root"] = document["root"]
        other["components"] = [{"name": "tls", "path": "lib/tls"}]
    elif field == "component":
        # The vendor's name is only its own word: the same name gives no right to another product's files.
        other["vendor"] = document["vendor"]
        other["root"] = document["root"] + "/lib"
        other["components"] = [{"name": "x", "path": "imaging"}]
    else:
        other["pointer"] = document["pointer"]
    with pytest.raises(InputError, match="overlaps"):
        shelf.add(write(tmp_path, other))
    assert [product.product for product in shelf.list()] == ["darkroom"]


def test_one_vendor_may_ship_two_products_from_one_root(
    shelf: ProductShelf, tmp_path: Path, document: Document
) -> None:
    shelf.add(write(tmp_path, document))
    other = make_document(tmp_path, "lightroom", "Acme")
    other["root"] = document["root"]
    other["components"] = [{"name": "tls", "path": "lib/tls"}]
    shelf.add(write(tmp_path, other))
    assert [product.product for product in shelf.list()] == ["darkroom", "lightroom"]


def test_removing_deletes_file_and_trust_and_leaves_baseline_and_pointer(
    shelf: ProductShelf, places: Places, tmp_path: Path, document: Document
) -> None:
    shelf.add(write(tmp_path, document))
    places.trust("darkroom").mkdir()
    (places.trust("darkroom") / "root.json").write_bytes(b"{}")
    shelf.remove("darkroom")
    assert shelf.list() == ()
    assert not places.trust("darkroom").exists()
    assert Path(document["pointer"]).resolve() == Path(document["root"])
    with pytest.raises(NotKnownError):
        shelf.remove("darkroom")


def test_removing_is_refused_while_an_improvement_is_in_place(
    shelf: ProductShelf, places: Places, tmp_path: Path, document: Document
) -> None:
    shelf.add(write(tmp_path, document))
    places.trust("darkroom").mkdir()
    level = places.store / "darkroom/1.0-x86_64/1/tree"
    level.mkdir(parents=True)
    Path(document["pointer"]).unlink()
    Path(document["pointer"]).symlink_to(level)
    with pytest.raises(RefusedError) as caught:
        shelf.remove("darkroom")
    assert "suture remove darkroom" in caught.value.advice
    assert places.trust("darkroom").is_dir()
    assert shelf.get("darkroom").product == "darkroom"


def test_a_link_in_place_of_the_trust_directory_is_not_followed(
    shelf: ProductShelf, places: Places, tmp_path: Path, document: Document
) -> None:
    shelf.add(write(tmp_path, document))
    (tmp_path / "precious").mkdir()
    places.trust("darkroom").symlink_to(tmp_path / "precious")
    with pytest.raises(StorageError):
        shelf.remove("darkroom")
    assert (tmp_path / "precious").is_dir()


def test_two_at_once_do_not_meet(
    shelf: ProductShelf, places: Places, tmp_path: Path, document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suture.agent.products.PATIENCE_SECONDS", 0.0)
    shelf.add(write(tmp_path, document))
    with exclusive_lock(places.lock, doing="test"):
        with pytest.raises(BusyError):
            shelf.add(write(tmp_path, {**document, "title": "x"}))
        with pytest.raises(BusyError):
            shelf.remove("darkroom")
    assert shelf.get("darkroom").title == "Darkroom"


def test_a_stored_file_that_broke_is_named(
    shelf: ProductShelf, places: Places, tmp_path: Path, document: Document
) -> None:
    shelf.add(write(tmp_path, document))
    stored = places.product_file("darkroom").read_bytes()
    places.product_file("darkroom").write_bytes(stored[:-9])
    with pytest.raises(StorageError, match="darkroom"):
        shelf.get("darkroom")
    places.product_file("other").write_bytes(stored)
    with pytest.raises(StorageError, match="about darkroom"):
        shelf.get("other")


def test_names_that_are_no_products_are_not_known(shelf: ProductShelf) -> None:
    assert shelf.list() == ()
    for name in ("darkroom", "../../etc/passwd", ""):
        with pytest.raises(NotKnownError):
            shelf.get(name)
