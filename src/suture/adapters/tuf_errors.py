"""Where python-tuf's exceptions end, each in the error of ours that says the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NoReturn

from tuf.api import exceptions as tuf_errors

from suture.adapters.files import host_errors
from suture.core.errors import (
    ExpiredError,
    NetworkError,
    RepositoryError,
    RolledBackError,
    SignatureError,
    SutureError,
)


@contextlib.contextmanager
def our_errors(doing: str) -> Iterator[None]:
    """Turn python-tuf's exceptions into ours; `doing` completes "cannot …"."""
    try:
        with host_errors(doing):
            yield
    except SutureError:
        raise
    except (tuf_errors.RepositoryError, tuf_errors.DownloadError) as error:
        _raise_ours(doing, error)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        # Metadata that is signed and yet breaks an assumption of python-tuf's.
        raise RepositoryError(f"cannot {doing}: {error}") from error


def _raise_ours(doing: str, error: Exception) -> NoReturn:
    words = str(error) or type(error).__name__
    if isinstance(error, tuf_errors.DownloadLengthMismatchError):
        raise RepositoryError(f"cannot {doing}: {words}") from error
    if isinstance(error, tuf_errors.DownloadError):
        # Our fetcher's own error is the cause, and says more: unreachable or too slow.
        if isinstance(error.__cause__, NetworkError):
            raise error.__cause__
        raise NetworkError(f"cannot {doing}: {words}") from error
    if isinstance(error, tuf_errors.UnsignedMetadataError):
        raise SignatureError(f"cannot {doing}: {words}") from error
    if isinstance(error, tuf_errors.ExpiredMetadataError):
        raise ExpiredError(f"cannot {doing}: {words}") from error
    if isinstance(error, tuf_errors.BadVersionNumberError):  # EqualVersionNumberError is one
        raise RolledBackError(f"cannot {doing}: {words}") from error
    if isinstance(error, tuf_errors.LengthOrHashMismatchError):
        raise RepositoryError(f"cannot {doing}: {words}; files of different versions were mixed or changed") from error
    raise RepositoryError(f"cannot {doing}: {words}") from error
