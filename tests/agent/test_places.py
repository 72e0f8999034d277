"""Attacks on the state directory: links, other owners, open modes, swappable parents, read-only disks."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from suture.agent.places import Places, check_own_directory, places_to_read, prepare, resolve_places
from suture.core.errors import InputError, ReadOnlyError, RightsError, StorageError

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "state", tmp_path / "configuration")


def test_an_option_wins_over_the_environment_and_that_over_the_default(tmp_path: Path) -> None:
    environment = {"SUTURE_STATE_DIRECTORY": "/from/environment", "SUTURE_CONFIGURATION_DIRECTORY": ""}
    found = resolve_places(None, None, environment, False, Path("/home/ada"))
    assert found == Places(Path("/from/environment"), Path("/home/ada/.config/suture"))
    found = resolve_places(tmp_path, tmp_path / "c", environment, True, Path("/root"))
    assert found == Places(tmp_path, tmp_path / "c")
    assert resolve_places(None, None, {}, True, Path("/root")) == Places(Path("/var/lib/suture"), Path("/etc/suture"))


def test_who_only_asks_sees_the_systems_status_unless_they_have_their_own_or_named_one(tmp_path: Path) -> None:
    own, system = Places(tmp_path / "own", tmp_path / "c"), Places(tmp_path / "system", tmp_path / "etc")
    assert places_to_read(own, was_chosen=False, system=system) == own
    prepare(system)
    system.status_file.write_bytes(b"{}")
    assert places_to_read(own, was_chosen=False, system=system) == system
    assert places_to_read(own, was_chosen=True, system=system) == own
    prepare(own)
    own.status_file.write_bytes(b"{}")
    assert places_to_read(own, was_chosen=False, system=system) == own


def test_places_are_absolute_whatever_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = resolve_places(Path("x/../state"), Path("conf"), {}, False, Path("/home/ada"))
    assert found == Places(tmp_path / "state", tmp_path / "conf")


def test_a_product_name_never_leaves_its_directory(places: Places) -> None:
    assert places.trust("darkroom") == places.state / "trust" / "darkroom"
    for name in ("..", "../x", "a/b", "", "A", "a\n"):
        with pytest.raises(InputError):
            places.trust(name)
        with pytest.raises(InputError):
            places.product_file(name)


def test_prepare_makes_everything_with_its_mode_and_again_changes_nothing(places: Places) -> None:
    mask = os.umask(0)  # the loosest umask must not loosen the modes
    try:
        prepare(places)
        prepare(places)
    finally:
        os.umask(mask)
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in (places.state, places.store, places.products)}
    assert set(modes.values()) == {0o755}
    for private in (places.trust_root, places.fetched):
        assert stat.S_IMODE(private.lstat().st_mode) == 0o700
    assert places.supervised.is_dir()
    assert not places.configuration.exists()


def test_a_symbolic_link_as_state_directory_is_refused_and_its_target_stays_empty(places: Places) -> None:
    target = places.state.with_name("elsewhere")
    target.mkdir()
    places.state.symlink_to(target)
    with pytest.raises(StorageError, match="symbolic link"):
        prepare(places)
    assert list(target.iterdir()) == []


def test_a_dangling_link_as_state_directory_is_not_made_good(places: Places) -> None:
    places.state.symlink_to(places.state.with_name("nowhere"))
    with pytest.raises(StorageError, match="symbolic link"):
        prepare(places)
    assert not places.state.with_name("nowhere").exists()


@pytest.mark.parametrize("part", ["trust", "store", "fetched", "products", "run"])
def test_a_symbolic_link_inside_the_state_directory_is_refused(places: Places, part: str) -> None:
    target = places.state.with_name("elsewhere")
    target.mkdir()
    places.state.mkdir()
    (places.state / part).symlink_to(target)
    with pytest.raises(StorageError, match="symbolic link"):
        prepare(places)
    assert list(target.iterdir()) == []


def test_a_file_where_the_state_directory_should_be_is_refused(places: Places) -> None:
    places.state.write_bytes(b"x")
    with pytest.raises(StorageError, match="no directory"):
        prepare(places)
    assert places.state.read_bytes() == b"x"


def test_a_world_writable_state_directory_is_refused_even_with_the_sticky_bit(places: Places) -> None:
    places.state.mkdir()
    for mode in (0o777, 0o1777):
        places.state.chmod(mode)
        with pytest.raises(StorageError, match="everybody may write it"):
            prepare(places)
    assert list(places.state.iterdir()) == []


def test_a_parent_that_everybody_may_write_is_refused_unless_sticky(places: Places) -> None:
    parent = places.state.parent / "open"
    parent.mkdir()
    within = Places(parent / "state", places.configuration)
    parent.chmod(0o777)
    with pytest.raises(StorageError, match="everybody may write") as caught:
        prepare(within)
    assert "chmod o-w" in caught.value.advice
    assert not within.state.exists()
    parent.chmod(0o1777)
    prepare(within)


def test_a_state_directory_of_another_user_is_refused(places: Places) -> None:
    if IS_ROOT:
        places.state.mkdir()
        os.chown(places.state, 12345, 12345)
        path = places.state
    else:
        path = Path("/usr")
    with pytest.raises(RightsError, match="belongs to user"):
        check_own_directory(path)


@pytest.mark.skipif(IS_ROOT, reason="root writes everywhere but on a read-only file system")
def test_a_read_only_state_directory_is_its_own_error(places: Places) -> None:
    places.state.mkdir(mode=0o555)
    with pytest.raises(ReadOnlyError):
        prepare(places)


def test_a_read_only_file_system_is_its_own_error() -> None:
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, place, _, options, *_ = line.split(" ")
        path = Path(place)
        if "ro" in options.split(",") and path.is_dir() and path.stat().st_uid == os.geteuid():
            with pytest.raises(ReadOnlyError):
                check_own_directory(path)
            return
    pytest.skip("no read-only file system of this user is mounted here")
