"""The desk: what every signing command works with, and how it publishes. Decides nothing about levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from suture.core.clock import format_time
from suture.publisher.draft import Draft
from suture.publisher.keys import Keyring
from suture.publisher.publication import NewFile, publish
from suture.publisher.published import Published, read_published
from suture.publisher.workshop import Workshop, WorkshopFile


@dataclass(frozen=True, slots=True)
class Change:
    """What a command published. `changed` is False where everything was so already."""

    changed: bool
    written_bytes: int = 0
    files: int = 0


@dataclass(frozen=True, slots=True)
class Desk:
    """What every signing command works with: the workshop, locked; its settings; its keys; and the time."""

    workshop: Workshop
    settings: WorkshopFile
    keyring: Keyring
    now: datetime

    def published(self) -> Published:
        """The repository as it stands, verified."""
        return read_published(self.workshop, self.settings)

    def draft(self, published: Published) -> Draft:
        """A draft on top of it."""
        return Draft(published, self.settings, self.keyring, self.now)

    def publish(self, draft: Draft, *, before: Sequence[NewFile] = (), after: Sequence[NewFile] = ()) -> Change:
        """Sign and publish a draft, if anything in it changed, with files to put in place before and after it."""
        if draft.is_empty:
            return Change(False)
        files = [*before, *draft.files(), *after]
        return Change(True, publish(self.workshop, files), len(files))

    @property
    def time(self) -> str:
        """Now, as documents spell it."""
        return format_time(self.now.replace(microsecond=0))
