"""Which release of a product this device has: the baseline that improvements must be made for.

It reads what the product file says and believes nothing else. What it finds passes the version grammar before it can
become part of a path; a release that cannot be told is an error, never a guess.
"""

from __future__ import annotations

import os
import platform
import re
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from suture.adapters.files import host_errors
from suture.core.errors import HostError, InputError, NotKnownError, SutureError
from suture.core.identifiers import check_architecture, check_version
from suture.improvement.manifest import Baseline
from suture.wire.product import (
    FIRST_WORD_PATTERN,
    CommandRelease,
    DpkgRelease,
    FileRelease,
    FixedRelease,
    OsRelease,
    Product,
)

MAXIMUM_RELEASE_FILE_BYTES = 64 * 1024
MAXIMUM_OUTPUT_BYTES = 4096
COMMAND_DEADLINE_SECONDS = 10.0
CLEAN_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
OS_RELEASE_FILES = (Path("/etc/os-release"), Path("/usr/lib/os-release"))
"""os-release(5): the first that exists."""

_MATCH = """import re, sys
with open(sys.argv[2], "rb") as file:
    text = file.read(int(sys.argv[3])).decode("utf-8", "replace")
match = re.search(sys.argv[1], text)
sys.stdout.buffer.write((match.group(1) or "").encode("utf-8", "replace") if match else b"")
"""

Runner = Callable[[Sequence[str], str | None], bytes]
"""Runs ``argv`` as a user (None: as ourselves) and returns the bounded output; raises HostError."""


def detect_baseline(
    product: Product,
    architecture_of_machine: str | None = None,
    runner: Runner | None = None,
    os_release_files: Sequence[Path] = OS_RELEASE_FILES,
) -> Baseline:
    """The release of `product` on this device.

    Args:
        product: a checked product.
        architecture_of_machine: ``uname -m``'s word; the machine's own when left out. The product file's wins.
        runner: runs commands; `run_bounded` when left out.
        os_release_files: where os-release(5) may lie, best first.

    Raises:
        NotKnownError: the product is not installed, or its release cannot be told.
        HostError: the file or command could not be read or run.
    """
    runner = runner if runner is not None else run_bounded
    release = product.release
    user = product.run_as if os.geteuid() == 0 else None
    if isinstance(release, FixedRelease):
        found = release.version
    elif isinstance(release, FileRelease):
        found = _from_file(product, release)
    elif isinstance(release, OsRelease):
        found = _from_os_release(product, release, os_release_files)
    elif isinstance(release, DpkgRelease):
        found = _from_dpkg(product, release, runner)
    else:
        found = _from_command(product, release, runner, user)
    architecture = product.architecture or architecture_of_machine or platform.machine()
    try:
        return Baseline(version=check_version(found), architecture=check_architecture(architecture))
    except InputError as error:
        raise _unknown(product, error.message) from error


def run_bounded(argv: Sequence[str], user: str | None) -> bytes:
    """Run a command with a clean environment, no input, 10 s and 4 KiB of output at most.

    Args:
        argv: an absolute path (or a tool of the host) and its arguments; no shell.
        user: whom to run it as; needs root. None: as ourselves.

    Returns:
        What it printed.

    Raises:
        HostError: it did not start, did not end in time, printed too much, or ended with another code than 0.
    """
    words = shlex.join(argv)[:200]
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=CLEAN_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            user=user,
            group=_group_of(user),
            extra_groups=None if user is None else [],
        )
    except (OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
        raise HostError(f"cannot run {words}: {error}") from error
    try:
        output = _read_bounded(process.stdout.fileno(), words) if process.stdout is not None else b""
        code = process.wait(timeout=COMMAND_DEADLINE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise HostError(f"cannot run {words}: it did not end within {COMMAND_DEADLINE_SECONDS:.0f} s") from error
    finally:
        _end(process)
    if code != 0:
        raise HostError(f"cannot run {words}: it ended with code {code}")
    return output


def _read_bounded(descriptor: int, words: str) -> bytes:
    deadline = time.monotonic() + COMMAND_DEADLINE_SECONDS
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise HostError(f"cannot run {words}: it did not end within {COMMAND_DEADLINE_SECONDS:.0f} s")
            chunk = os.read(descriptor, MAXIMUM_OUTPUT_BYTES)
            if not chunk:
                return output
            output += chunk
            if len(output) > MAXIMUM_OUTPUT_BYTES:
                raise HostError(f"cannot run {words}: it printed more than {MAXIMUM_OUTPUT_BYTES:,} bytes")


def _end(process: subprocess.Popen[bytes]) -> None:
    # The whole session of a command that overran. The leader is reaped only after the signal, so its number cannot
    # belong to somebody else yet; one that ended by itself is not signalled, for then its number might.
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _group_of(user: str | None) -> int | None:
    import pwd

    return None if user is None else pwd.getpwnam(user).pw_gid


def _unknown(product: Product, reason: str) -> NotKnownError:
    return NotKnownError(
        f"cannot tell which release of {product.product} this device has: {reason}",
        advice="check that the product is installed; its product file says how the release is detected",
    )


def _read_start(path: Path, maximum_bytes: int) -> str:
    # The vendor's own file may be a link (/etc/os-release is one); only its first bytes count.
    with host_errors(f"read {path}"):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(maximum_bytes).decode("utf-8", "replace")


def _from_file(product: Product, release: FileRelease) -> str:
    path = Path(release.path)
    if not path.is_file():
        raise _unknown(product, f"there is no file {path}")
    if release.pattern == FIRST_WORD_PATTERN:
        match = re.search(release.pattern, _read_start(path, MAXIMUM_RELEASE_FILE_BYTES))
        found = match.group(1) if match is not None else ""
    else:
        found = _matched_apart(product, release)
    if not found:
        raise _unknown(product, f"{path} holds nothing that its pattern matches")
    return found


def _matched_apart(product: Product, release: FileRelease) -> str:
    # A vendor's pattern may take for ever on some content; in a process of its own it has 10 s, and other vendors'
    # products wait no longer.
    argv = (sys.executable, "-I", "-S", "-c", _MATCH, release.pattern, release.path, str(MAXIMUM_RELEASE_FILE_BYTES))
    try:
        return _text(run_bounded(argv, None))
    except HostError as error:
        raise _unknown(product, f"its pattern could not be matched against {release.path} in time") from error


def _from_os_release(product: Product, release: OsRelease, files: Sequence[Path]) -> str:
    path = next((path for path in files if path.is_file()), None)
    if path is None:
        raise _unknown(product, "there is no os-release file")
    for line in _read_start(path, MAXIMUM_RELEASE_FILE_BYTES).splitlines():
        name, separator, value = line.strip().partition("=")
        if separator and name == release.field:
            return _unquoted(product, path, value)
    raise _unknown(product, f"{path} has no {release.field}")


def _unquoted(product: Product, path: Path, value: str) -> str:
    try:
        words = shlex.split(value)  # os-release(5): shell-compatible assignments
    except ValueError as error:
        raise _unknown(product, f"{path}: {error}") from error
    return words[0] if len(words) == 1 else ""


def _from_dpkg(product: Product, release: DpkgRelease, runner: Runner) -> str:
    # dpkg-query(1): a package that was removed but not purged still has a version, so its status counts.
    argv = ("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}\\n", release.package)
    try:
        lines = _text(runner(argv, None)).splitlines()
    except SutureError as error:
        raise _unknown(product, error.message) from error
    versions = {words[1] for words in (line.split() for line in lines) if len(words) == 2 and words[0] == "installed"}
    if len(versions) != 1:
        raise _unknown(product, f"{len(versions)} versions of the package {release.package} are installed")
    # deb-version(7): the epoch's colon may not stand in a path.
    return versions.pop().replace(":", "~", 1)


def _from_command(product: Product, release: CommandRelease, runner: Runner, user: str | None) -> str:
    lines = _text(runner(release.argv, user)).splitlines()
    if not lines:
        raise _unknown(product, f"{release.argv[0]} printed nothing")
    return lines[0].strip()


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace")
