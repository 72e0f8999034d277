"""`suture product` from outside: what it says, its exit codes, and what is on disk afterwards."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from command_device import CommandDevice, command_device


@pytest.fixture
def device(tmp_path: Path) -> CommandDevice:
    return command_device(tmp_path)


def test_a_product_is_added_listed_and_removed(device: CommandDevice) -> None:
    path = device.product_file(services=["thumbs"])
    said = device.run("product", "add", str(path)).stdout
    assert "added darkroom" in said
    assert "thumbs" in said
    assert "Darkroom" in device.run("product", "list").stdout
    (listed,) = device.json("product", "list")
    assert listed["first_root"] == json.loads(path.read_text(encoding="utf-8"))["first_root"]
    assert device.json("product", "remove", "darkroom")["product"] == "darkroom"
    assert device.json("product", "list") == []
    assert "no product" in device.run("product", "list").stdout


def test_a_bad_product_file_is_named_and_nothing_is_made(device: CommandDevice) -> None:
    done = device.run("product", "add", str(device.product_file(repositories=["http://a.example/"])), code=2)
    assert "repositories[0]" in done.stderr
    assert "https" in done.stderr
    assert not device.places.state.exists()
    assert not (device.base / "current").exists()


def test_another_first_root_is_refused_with_the_way_out(device: CommandDevice) -> None:
    device.run("product", "add", str(device.product_file()))
    error = device.json("product", "add", str(device.product_file(first_root="sha256:" + "cd" * 32)), code=10)["error"]
    assert error["code"] == "refused"
    assert "product remove darkroom" in error["advice"]


def test_an_unknown_product_is_3(device: CommandDevice) -> None:
    for name in ("nope", "../../etc/passwd", "\x1b[2J"):
        done = device.run("product", "remove", name, code=3)
        assert "\x1b" not in done.stderr


def test_a_symlinked_state_directory_is_refused(device: CommandDevice) -> None:
    (device.base / "victim").mkdir()
    device.places.state.symlink_to(device.base / "victim")
    assert "symbolic link" in device.run("product", "add", str(device.product_file()), code=60).stderr
    assert list((device.base / "victim").iterdir()) == []


def test_an_open_state_directory_is_refused(device: CommandDevice) -> None:
    device.places.state.mkdir()
    device.places.state.chmod(0o777)
    assert "everybody" in device.run("settings", "set", "notify", "off", code=60).stderr
    assert list(device.places.state.iterdir()) == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_state_directory_of_another_user_is_14(device: CommandDevice) -> None:
    device.places.state.mkdir()
    os.chown(device.places.state, 12345, 12345)
    assert "12345" in device.run("settings", "set", "notify", "off", code=14).stderr


def test_a_stored_product_that_broke_is_an_error_of_the_host(device: CommandDevice) -> None:
    device.run("product", "add", str(device.product_file()))
    device.places.product_file("darkroom").write_bytes(b"{")
    assert "darkroom" in device.run("product", "list", code=60).stderr
