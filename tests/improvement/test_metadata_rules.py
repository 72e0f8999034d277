"""Owners, special bits, capabilities, ACLs and labels that differ from the baseline's are refused."""

from __future__ import annotations

import pytest

from suture.core.errors import MetadataError
from suture.improvement.metadata_rules import ROOT, check_metadata, expected_metadata
from suture.improvement.tree import Metadata

PLAIN = Metadata(0, 0, 0)
SET_ID = Metadata(0, 0, 0o4000)
CAPABLE = Metadata(0, 0, 0, (("security.capability", b"\1"),))


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        (Metadata(1, 0, 0), "owners"),
        (Metadata(0, 1, 0), "owners"),
        (SET_ID, "set-id"),
        (Metadata(0, 0, 0o1000), "sticky"),
        (CAPABLE, "security.capability"),
        (Metadata(0, 0, 0, (("system.posix_acl_access", b"\2"),)), "posix_acl"),
        (Metadata(0, 0, 0, (("security.selinux", b"label"),)), "selinux"),
    ],
)
@pytest.mark.parametrize("path", ["lib/a.so", "new-file", ROOT])
def test_what_differs_is_unsupported_metadata(changed: Metadata, word: str, path: str) -> None:
    old = {ROOT: PLAIN, "lib/a.so": PLAIN}
    with pytest.raises(MetadataError, match=word) as caught:
        check_metadata(old, {**old, path: changed})
    assert caught.value.code == "unsupported-metadata"


def test_what_the_baseline_has_may_stay_but_not_be_lost() -> None:
    old = {ROOT: PLAIN, "ping": CAPABLE, "su": SET_ID}
    check_metadata(old, dict(old))
    for path in ("ping", "su"):
        with pytest.raises(MetadataError):
            check_metadata(old, {**old, path: PLAIN})


def test_a_new_version_of_a_file_has_what_its_predecessor_had() -> None:
    old = {ROOT: PLAIN, "tool-1.0": CAPABLE}
    check_metadata(old, {ROOT: PLAIN, "tool-1.1": CAPABLE})
    with pytest.raises(MetadataError):
        check_metadata(old, {ROOT: PLAIN, "tool-1.1": PLAIN})


def test_a_new_file_gets_the_roots_owner_and_nothing_special() -> None:
    old = {ROOT: Metadata(7, 8, 0o2000, (("security.selinux", b"x"),))}
    assert expected_metadata("new", old, None) == Metadata(7, 8, 0)
    check_metadata(old, {**old, "new": Metadata(7, 8, 0)})


def test_without_the_root_nothing_can_be_compared() -> None:
    with pytest.raises(MetadataError):
        check_metadata({}, {})
