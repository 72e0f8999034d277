"""TUF's client workflow over a bare directory of metadata, for any repository, ours or not.

`suture tuf-client` stands on it, and the public conformance suite on that. The workflow is the agent's own
(`tuf_workflow`); what the agent adds on top (floors, the clock's floor, the index's growth) is absent here on purpose,
since other repositories know nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from suture.adapters.fetch import Deadline, Fetcher
from suture.adapters.files import exclusive_lock, host_errors, make_directory, read_file, write_file
from suture.adapters.tuf_metadata import HISTORY, MAXIMUM_METADATA_BYTES, MetadataDirectory, files_of, role_file
from suture.adapters.tuf_reading import SignedTarget
from suture.adapters.tuf_refresh import GENERAL_DELEGATIONS, Refresh, Source, read_from
from suture.adapters.tuf_targets import download_target, has_target
from suture.adapters.tuf_workflow import run_workflow
from suture.core.clock import Clock
from suture.core.errors import RepositoryError
from suture.core.limits import DOWNLOAD_DEADLINE_SECONDS, METADATA_DEADLINE_SECONDS
from suture.trust.freshness import ROOT

DIGESTS = ("sha256", "sha512")
"""What other repositories sign targets with (TUF specification §4.5), best first."""


class PlainClient:
    """One directory of verified metadata. `directory` holds ``<role>.json``, unversioned, and ``root_history/``."""

    def __init__(self, directory: Path, fetcher: Fetcher, clock: Clock) -> None:
        self._directory = MetadataDirectory(directory, directory)
        self._fetcher = fetcher
        self._clock = clock

    def begin(self, root: Path) -> None:
        """Trust a root file from here on. Asks nobody.

        Raises:
            StorageError: it cannot be read or kept.
        """
        data = read_file(root, maximum_bytes=MAXIMUM_METADATA_BYTES)
        make_directory(self._directory.metadata)
        write_file(self._directory.metadata / role_file(ROOT), data)

    def refresh(self, metadata_url: str) -> None:
        """TUF specification §5.3 to §5.6 for the top-level roles.

        Raises:
            NetworkError, TrustError, HostError: what was verified before the failure is kept (§5.3.8, §5.4.5, §5.5.7).
        """
        self._run(metadata_url, lambda _: None)

    def download(self, metadata_url: str, names: Sequence[str], targets_url: str, destination: Path) -> None:
        """Refresh, then look up and fetch each target in turn (§5.6.7, §5.7); a good one that is there is left alone.

        Args:
            metadata_url: the address of the metadata.
            names: target paths.
            targets_url: the address of the targets.
            destination: an existing directory; a target's file is its path, URL-encoded.

        Raises:
            As `refresh`; RepositoryError: the metadata does not list a target; DigestMismatchError: other bytes.
        """

        def fetch_all(refresh: Refresh) -> None:
            for name in names:
                target = refresh.find(name, algorithms=DIGESTS)
                if target is None:
                    raise RepositoryError(f"cannot fetch {name}: the signed metadata does not list it")
                self._fetch(target, targets_url, destination)

        self._run(metadata_url, fetch_all)

    def _fetch(self, target: SignedTarget, targets_url: str, directory: Path) -> None:
        file = directory / quote(target.path, "")
        if has_target(file, target.digest, target.length):
            return
        download_target(
            self._fetcher,
            [_with_slash(targets_url) + target.url_path],
            digest=target.digest,
            size=target.length,
            destination=file,
            deadline=Deadline(self._clock, DOWNLOAD_DEADLINE_SECONDS),
        )

    def _run(self, metadata_url: str, judge: Callable[[Refresh], None]) -> None:
        held = self._directory
        make_directory(held.metadata / HISTORY)
        with exclusive_lock(held.metadata / "lock", doing=f"refresh the metadata in {held.metadata}"):
            held.clear_refreshes()
            run_workflow(
                held,
                read_file(held.metadata / role_file(ROOT), maximum_bytes=MAXIMUM_METADATA_BYTES),
                Source(
                    _with_slash(metadata_url),
                    read_from(self._fetcher, Deadline(self._clock, METADATA_DEADLINE_SECONDS)),
                ),
                judge=judge,
                keep=lambda refresh, working, _: self._keep(refresh, working),
                keep_progress=self._keep,
                max_delegations=GENERAL_DELEGATIONS,
            )

    def _keep(self, refresh: Refresh, working: Path) -> None:
        # ngclient writes a role into the private directory once it is verified, so all that is there may stay.
        files = [source for source in files_of(working) if source.name != role_file(ROOT)]
        self._directory.adopt_files(working, files)
        with host_errors("read the newest root"):
            newest = refresh.root.read_bytes()
        write_file(self._directory.metadata / role_file(ROOT), newest)


def _with_slash(url: str) -> str:
    return url if url.endswith("/") else f"{url}/"
