"""Which reboot a level still needs. It is asked for and proven, never done here."""

from __future__ import annotations

from pathlib import Path

import msgspec

from suture.agent.journal import Journal

REBOOT_REQUIRED = "reboot-required"
_FACT = "reboot"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class RebootAsked(msgspec.Struct, frozen=True):
    """`level` came in this boot and needs another one."""

    level: int
    boot: str


def ask_reboot(journal: Journal, product: str, level: int) -> None:
    """Keep that `level` is in effect only after the next boot."""
    journal.keep_fact(product, _FACT, msgspec.json.encode(RebootAsked(level, boot_identity())))


def is_reboot_pending(journal: Journal, product: str, level: int) -> bool:
    """The level in place still waits for the boot that it asked for."""
    kept = journal.fact(product, _FACT)
    return kept is not None and msgspec.json.decode(kept, type=RebootAsked) == RebootAsked(level, boot_identity())


def boot_identity() -> str:
    """Which boot this is (random(4), boot_id); empty where the kernel does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
