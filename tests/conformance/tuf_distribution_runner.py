"""Runs python-tuf's own updater tests with our adapter in the place of `tuf.ngclient.Updater`.

    python tuf_distribution_runner.py FOLDER-OF-THE-DISTRIBUTION FOLDER-OF-FREEZEGUN TEST-MODULE…

`StandIn` has the constructor and methods of python-tuf's class and does everything through `tuf_refresh`,
`tuf_metadata` and `tuf_targets`; an error is turned back into the python-tuf error that it was made of.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from tuf import ngclient
from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import TargetFile  # type: ignore[attr-defined]  # re-exported without __all__

from suture.adapters.clock import SystemClock
from suture.adapters.fetch import Deadline, Fetcher
from suture.adapters.fetch_answers import StatusError, TooLongError
from suture.adapters.tuf_metadata import HISTORY, MetadataDirectory, files_of
from suture.adapters.tuf_reading import SignedTarget
from suture.adapters.tuf_refresh import Refresh, Source
from suture.adapters.tuf_targets import download_target, has_target
from suture.core.errors import DigestMismatchError, NetworkError, NotKnownError, SutureError, UnreachableError

DO_NOT_FIT = {
    # They count calls of open() on, or look for symbolic links in, ngclient's own layout of the directory.
    "test_load_metadata_from_cache",
    "test_not_loading_targets_twice",
    "test_intermediate_root_cache",
    "test_intermediate_root_cache_poisoning",
    # They call methods of ngclient that are not its interface.
    "test_persist_metadata_fails",
    "test_update_root_symlink_oserror_fallback",
    # They name the user agent of python-tuf's own fetcher, or fetch a target that nothing lists.
    "test_user_agent",
    "test_invalid_target_base_url",
    "test_non_existing_target_file",
}
TOO_SHORT = "it ends after"
"""Ours is an error of the way (the rest may come from another address); python-tuf's is one of length."""


class SimulatorFetcher(Fetcher):
    """Our fetcher's shape over python-tuf's simulator, which has no server."""

    def __init__(self, simulator: Any) -> None:
        super().__init__(SystemClock())
        self._simulator = simulator

    def download(self, url: str, *, size: int, write: Callable[[bytes], None], **_: Any) -> str:
        write(read_simulator(self._simulator, unquote(url), size))  # the simulator has no server that would do it
        return ""


def read_simulator(simulator: Any, url: str, maximum_bytes: int) -> bytes:
    """The simulator's answer, or its error in our words."""
    try:
        return bytes(simulator.download_bytes(url, maximum_bytes))
    except tuf_errors.DownloadHTTPError as error:
        raise StatusError(str(error), error.status_code) from error
    except tuf_errors.DownloadLengthMismatchError as error:
        raise TooLongError(str(error)) from error
    except tuf_errors.DownloadError as error:
        raise UnreachableError(str(error)) from error


@contextlib.contextmanager
def their_errors() -> Iterator[None]:
    """Our errors as the python-tuf errors that they were made of."""
    try:
        yield
    except SutureError as error:
        cause: BaseException | None = error
        while cause is not None and isinstance(cause, SutureError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from None
        if isinstance(error, DigestMismatchError) or TOO_SHORT in error.message:
            raise tuf_errors.LengthOrHashMismatchError(error.message) from error
        if isinstance(error, NetworkError):
            raise tuf_errors.DownloadError(error.message) from error
        raise tuf_errors.RepositoryError(error.message) from error


class StandIn:
    """`tuf.ngclient.Updater`, ours inside."""

    def __init__(
        self,
        metadata_dir: str,
        metadata_base_url: str,
        target_dir: str | None = None,
        target_base_url: str | None = None,
        fetcher: Any = None,
        config: Any = None,
        *,
        bootstrap: bytes | None,
    ) -> None:
        directory = Path(metadata_dir)
        if bootstrap is None:
            bootstrap = (directory / "root.json").read_bytes()
        self.target_dir = target_dir
        self._target_base_url = target_base_url
        self._home = tempfile.TemporaryDirectory()
        self._held = MetadataDirectory(Path(self._home.name), directory)
        self.config: Any = config
        self._fetcher = Fetcher(SystemClock()) if fetcher is None else SimulatorFetcher(fetcher)
        (directory / HISTORY).mkdir(parents=True, exist_ok=True)
        self._refreshed = False
        url = metadata_base_url if metadata_base_url.endswith("/") else f"{metadata_base_url}/"
        self._source = Source(url, self._reader(fetcher))
        self._begin(bootstrap)

    def _begin(self, root: bytes) -> None:
        self._working = self._held.begin_refresh()
        with self._kept():
            self._refresh = Refresh(self._working, root, self._source, max_delegations=32)
        if self.config is not None:
            self._refresh._updater.config = self.config
        self.config = self._refresh._updater.config
        self._trusted_set = self._refresh._updater._trusted_set

    def _reader(self, simulator: Any) -> Callable[[str, int], bytes]:
        if simulator is not None:
            return lambda url, maximum: read_simulator(simulator, url, maximum)
        deadline = Deadline(SystemClock(), 30)
        return lambda url, maximum: self._fetcher.get(url, maximum_bytes=maximum, deadline=deadline).body or b""

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        """As the end of a workflow: what was verified is adopted, whatever failed after it."""
        try:
            with their_errors():
                yield
        finally:
            files = [file for file in files_of(self._working) if file.name != "root.json"]
            self._held.adopt_files(self._working, files)
            if hasattr(self, "_refresh"):
                root = self._held.metadata / "root.json"
                root.unlink(missing_ok=True)
                root.write_bytes(self._refresh.root.read_bytes())

    def refresh(self) -> None:
        # The tests change the directory after the constructor; a workflow of ours begins with what is there.
        self._held.end_refresh(self._working)
        self._begin((self._held.metadata / "root.json").read_bytes())
        self._refreshed = True
        with self._kept():
            self._refresh.run()

    def get_targetinfo(self, target_path: str) -> TargetFile | None:
        if not self._refreshed:
            self.refresh()
        with self._kept():
            found = self._refresh.find(target_path)
        self._found = found
        return None if found is None else TargetFile(found.length, {"sha256": found.digest[7:]}, target_path)

    def find_cached_target(self, targetinfo: TargetFile, filepath: str | None = None) -> str | None:
        path = self._path(targetinfo, filepath)
        return path if has_target(Path(path), f"sha256:{targetinfo.hashes['sha256']}", targetinfo.length) else None

    def download_target(
        self, targetinfo: TargetFile, filepath: str | None = None, target_base_url: str | None = None
    ) -> str:
        path = Path(self._path(targetinfo, filepath))
        base = target_base_url or self._target_base_url
        if base is None:
            raise ValueError("target_base_url must be set")
        path.parent.mkdir(parents=True, exist_ok=True)
        with their_errors():
            found = self._refresh.find(targetinfo.path)
            if found is None:
                raise NotKnownError("cannot fetch what is not listed")
            download_target(
                self._fetcher,
                [f"{base.rstrip('/')}/{self._place(found)}"],
                digest=f"sha256:{targetinfo.hashes['sha256']}",
                size=targetinfo.length,
                destination=path,
                deadline=Deadline(SystemClock(), 30),
            )
        return str(path)

    def _place(self, found: SignedTarget) -> str:
        return found.url_path if self.config.prefix_targets_with_hash else quote(found.path)

    def _path(self, targetinfo: TargetFile, filepath: str | None) -> str:
        if filepath is not None:
            return filepath
        if self.target_dir is None:
            raise ValueError("target_dir must be set if filepath is not given")
        return os.path.join(self.target_dir, quote(targetinfo.path, ""))


def _tests(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from _tests(one)
        else:
            yield one


def main(distribution: str, packages: str, *modules: str) -> int:
    """Run the modules; 0 when all that fit passed, with the counts on the last line."""
    sys.path[:0] = [distribution, packages]
    os.chdir(Path(distribution) / "tests")
    setattr(ngclient, "Updater", StandIn)  # noqa: B010  # the point of it
    found = list(_tests(unittest.defaultTestLoader.loadTestsFromNames([f"tests.{name}" for name in modules])))
    fitting = [one for one in found if one.id().rpartition(".")[2] not in DO_NOT_FIT]
    result = unittest.TextTestRunner(verbosity=0).run(unittest.TestSuite(fitting))
    print(f"{result.testsRun} of {len(found)} ran, {len(result.failures) + len(result.errors)} failed")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
