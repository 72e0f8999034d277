"""The repository of one product, as a device asks it: a cheap question first, a whole refresh only when it changed.

Four different answers, never mixed up: nothing changed (`PollAnswer.changed` is False), the way is blocked
(`NetworkError`), the signatures are wrong (`SignatureError`), the word is out of date (`ExpiredError`); beside them
`RolledBackError`, `SecondDigestError` and `RepositoryError`. Never decides what to install. `tuf.ngclient` itself is
driven by `tuf_refresh`, loaded only when something changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from suture.adapters.fetch import Deadline, Fetcher, Traffic
from suture.adapters.fetch_answers import Answer
from suture.adapters.files import exclusive_lock
from suture.adapters.tuf_addresses import first_good
from suture.adapters.tuf_first_root import fetch_first_root
from suture.adapters.tuf_held import Held, TrustDirectory
from suture.adapters.tuf_judgement import Question, judge
from suture.adapters.tuf_memory import PollAnswer, fresh_answer, held_answer, held_index, keep_verdict
from suture.adapters.tuf_targets import Progress, download_target
from suture.core.clock import Clock
from suture.core.digests import Digest, digest_bytes
from suture.core.errors import (
    DigestMismatchError,
    InputError,
    RepositoryError,
    SutureError,
)
from suture.core.limits import (
    DOWNLOAD_DEADLINE_SECONDS,
    METADATA_DEADLINE_SECONDS,
)
from suture.trust.documents import Index
from suture.trust.floors import Floors, verify_floors
from suture.trust.freshness import ROOT, TIMESTAMP, verify_freshness
from suture.trust.paths import check_target_path

if TYPE_CHECKING:
    from suture.adapters.tuf_reading import SignedTarget
    from suture.adapters.tuf_refresh import Refresh

__all__ = ["PollAnswer", "RepositoryClient"]

_Result = TypeVar("_Result")
_MAXIMUM_TIMESTAMP_BYTES = 16_384


class RepositoryClient:
    """One product's repository for one baseline. Use as a context manager, or `close` it. Not for two threads.

    Args:
        product: the product's name.
        baseline_identity: `Baseline.identity`.
        directory: the product's trust directory; made where missing, private.
        base_urls: the repository's addresses, tried in turn.
        first_root_digest: digest of 1.root.json, from the product file.
        floors: from the journal. `client.floors` is what to write back, after errors too.
        clock: its steady clock bounds transfers, its wall clock judges expiry.
        known_index: the last index that the journal remembers, so that an emptied directory forgets no digest; one of
            another baseline is left aside.
        allow_http_hosts, ca_file: see `Fetcher`.
        fetcher: one to share or to slow down in tests; else one is made.
    """

    def __init__(
        self,
        product: str,
        baseline_identity: str,
        directory: Path,
        base_urls: Sequence[str],
        first_root_digest: Digest,
        floors: Floors,
        clock: Clock,
        *,
        known_index: Index | None = None,
        allow_http_hosts: Collection[str] = (),
        ca_file: Path | None = None,
        fetcher: Fetcher | None = None,
        metadata_deadline_seconds: float = METADATA_DEADLINE_SECONDS,
        download_deadline_seconds: float = DOWNLOAD_DEADLINE_SECONDS,
    ) -> None:
        self.product = product
        self.baseline_identity = baseline_identity
        self.floors = floors
        self._directory = TrustDirectory(directory)
        self._base_urls = tuple(url.rstrip("/") for url in base_urls)
        self._first_root_digest = first_root_digest
        self._clock = clock
        self._known_index = known_index
        self._fetcher = fetcher or Fetcher(clock, allow_http_hosts=allow_http_hosts, ca_file=ca_file)
        self._metadata_deadline_seconds = metadata_deadline_seconds
        self._download_deadline_seconds = download_deadline_seconds
        self._refresh: Refresh | None = None
        self._answer: PollAnswer | None = None

    def __enter__(self) -> RepositoryClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def traffic(self) -> Traffic:
        """Connections, requests and bytes so far."""
        return self._fetcher.traffic

    def close(self) -> None:
        """Close the connections. The client may be used again."""
        self._fetcher.close()

    def poll(self) -> PollAnswer:
        """Ask what is offered. One request where nothing changed.

        Raises:
            NetworkError: UnreachableError or SlowError: no usable answer from any address.
            SignatureError, ExpiredError, RolledBackError, SecondDigestError, RepositoryError: not to be trusted, or
                not any more. Nothing that was trusted before is lost.
            BusyError: another process polls for the same product.
            HostError: the trust directory cannot be used.
        """
        deadline = Deadline(self._clock, self._metadata_deadline_seconds)
        self._directory.prepare()
        with exclusive_lock(self._directory.lock, doing=f"ask the repository of {self.product}"):
            self._directory.verified.clear_refreshes()
            self._answer = first_good(self._bases(), deadline, self._poll_one)
        self.floors = self._answer.floors
        return self._answer

    def fetch_document(self, path: str, maximum_bytes: int, digest: str | None = None) -> bytes:
        """A small target: a manifest or an advisory.

        Args:
            path: made by `trust.paths`.
            maximum_bytes: refused when the signed length is more.
            digest: what the index or manifest says it is; must be what TUF's metadata says.

        Raises:
            As `poll`; RepositoryError: a path out of place, no such target, too large, or signed with another digest;
            DigestMismatchError: the bytes are not the signed ones.
        """
        target = self._signed_target(path, digest, None, maximum_bytes)
        deadline = Deadline(self._clock, self._metadata_deadline_seconds)
        return first_good(self._bases(), deadline, lambda base, part: self._read_target(target, base, part))

    def fetch_patch(
        self, path: str, digest: str, size: int, destination: Path, progress: Progress | None = None
    ) -> None:
        """A large target to a file; goes on where an earlier try broke off.

        Args:
            path, digest, size: from the manifest; TUF's metadata must say the same.
            destination: see `download_target`.

        Raises:
            As `fetch_document` and `download_target`.
        """
        target = self._signed_target(path, digest, size, size)
        download_target(
            self._fetcher,
            [f"{base}/targets/{target.url_path}" for base in self._bases()],
            digest=target.digest,
            size=size,
            destination=destination,
            deadline=Deadline(self._clock, self._download_deadline_seconds),
            progress=progress,
        )

    # --- one address -----------------------------------------------------------------------------------------------

    def _poll_one(self, base: str, deadline: Deadline) -> PollAnswer:
        # 1. The cheap question. Its answer is believed only to the point that nothing changed: a lying 304 is a freeze,
        #    which ends when the held metadata expires (TUF specification §1.5.2, indefinite freeze attack).
        held = self._held()
        known = held.validators if held is not None and held.base_url == base else None
        url = f"{base}/metadata/timestamp.json"
        answer = self._fetcher.get(url, maximum_bytes=_MAXIMUM_TIMESTAMP_BYTES, deadline=deadline, known=known)
        if held is not None and (answer.body is None or digest_bytes(answer.body) == held.timestamp):
            unchanged = held_answer(self._directory, held, self.floors, self._clock.now(), base)
            if unchanged is not None:
                return unchanged
            answer = self._fetcher.get(url, maximum_bytes=_MAXIMUM_TIMESTAMP_BYTES, deadline=deadline)
        # 2. The whole client workflow, in a private directory, judged before anything of it is kept.
        return self._refreshed(base, deadline, answer)

    def _refreshed(self, base: str, deadline: Deadline, answer: Answer) -> PollAnswer:
        from suture.adapters.tuf_refresh import Source, read_from
        from suture.adapters.tuf_workflow import run_workflow

        question = self._question()
        self._refresh, verdict = run_workflow(
            self._directory.verified,
            self._first_root(base, deadline),
            Source(f"{base}/metadata/", read_from(self._fetcher, deadline), answer.body),
            judge=lambda refresh: judge(question, refresh, lambda one: self._read_target(one, base, deadline)),
            keep=lambda _, working, good: keep_verdict(self._directory, working, question, good, base, answer),
            keep_progress=self._keep_progress,
        )
        return fresh_answer(question, verdict, base)

    def _question(self) -> Question:
        held = self._held()
        kept = None if held is None else held_index(self._directory, held)
        place = (self.product, self.baseline_identity)
        known = tuple(
            one for one in (self._known_index, kept) if one is not None and (one.product, one.baseline) == place
        )
        return Question(*place, self.floors, self._clock.now(), known)

    def _keep_progress(self, refresh: Refresh, working: Path) -> None:
        """Keep the roots and the timestamp of a refresh that failed later (TUF specification §5.3.8, §5.4.5).

        What they say can then not be taken back by an older repository. Nothing is kept that is below a floor.
        """
        with contextlib.suppress(SutureError):
            loaded = [role for name in (ROOT, TIMESTAMP) if (role := refresh.loaded(name)) is not None]
            verify_floors(self.floors, loaded)
            self._directory.verified.adopt_refresh(working, roles=(TIMESTAMP,))
            self.floors = self.floors.raised(loaded)

    def _first_root(self, base: str, deadline: Deadline) -> bytes:
        """TUF specification §5.2, with the pinned digest for the trusted way that the file came by."""
        kept = self._directory.read_first_root()
        if kept is not None and digest_bytes(kept) == self._first_root_digest:
            return kept
        return fetch_first_root(self._fetcher, base, self._first_root_digest, deadline)

    def _held(self) -> Held | None:
        """The last good poll, if it was for this release: another release's role was never loaded."""
        held = self._directory.read_held()
        if held is None or (held.product, held.baseline) != (self.product, self.baseline_identity):
            return None
        return held

    # --- targets ---------------------------------------------------------------------------------------------------

    def _signed_target(self, path: str, digest: str | None, size: int | None, maximum_bytes: int) -> SignedTarget:
        try:
            check_target_path(path)
        except InputError as error:  # manifests name paths, so it is the publisher's fault
            raise RepositoryError(error.message) from error
        refresh = self._refresh or self._reopened()
        answer = self._answer
        if answer is not None:  # long after the poll the answer may be out of date
            verify_freshness(answer.roles, self._clock.now(), self.floors.clock_time)
        target = refresh.find(path)
        if target is None:
            raise RepositoryError(f"cannot fetch {path}: the signed metadata does not list it")
        if target.length > maximum_bytes or (size is not None and target.length != size):
            raise RepositoryError(f"cannot fetch {path}: its metadata says {target.length:,} bytes")
        if digest is not None and target.digest != digest:
            raise RepositoryError(f"cannot fetch {path}: its metadata says {target.digest}, expected was {digest}")
        return target

    def _reopened(self) -> Refresh:
        """The held metadata, verified again by `tuf.ngclient` without network; a whole poll where that fails."""
        from suture.adapters.tuf_offline import reopen

        self._directory.prepare()
        with exclusive_lock(self._directory.lock, doing=f"read the metadata of {self.product}"):
            self._refresh = reopen(self._directory, self._first_root_digest, self._question())
            if self._refresh is None:
                self._directory.drop_held()
        if self._refresh is None:
            self.poll()
        if self._refresh is None:
            raise RepositoryError("cannot read the repository's metadata")
        return self._refresh

    def _read_target(self, target: SignedTarget, base: str, deadline: Deadline) -> bytes:
        url = f"{base}/targets/{target.url_path}"
        body = self._fetcher.get(url, maximum_bytes=target.length, deadline=deadline).body or b""
        if len(body) != target.length or digest_bytes(body) != target.digest:
            raise DigestMismatchError(f"cannot use {target.path}: its bytes are not those that were signed")
        return body

    # --- several addresses -----------------------------------------------------------------------------------------

    def _bases(self) -> tuple[str, ...]:
        """The addresses, the one that answered last first."""
        good = self._answer.base_url if self._answer is not None else None
        return tuple(sorted(self._base_urls, key=lambda base: base != good))
