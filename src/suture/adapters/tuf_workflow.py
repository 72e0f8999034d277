"""The client workflow as everybody runs it: the agent, `suture tuf-client`, `suture mirror`.

A private copy of what is held, the workflow of TUF specification §5 in it, the caller's judgement, and only then the
adoption. What is thrown away was never trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from suture.adapters.tuf_metadata import MetadataDirectory
from suture.adapters.tuf_refresh import DEVICE_DELEGATIONS, Refresh, Source
from suture.core.errors import SutureError

_Judged = TypeVar("_Judged")


def run_workflow(
    directory: MetadataDirectory,
    first_root: bytes,
    source: Source,
    *,
    judge: Callable[[Refresh], _Judged],
    keep: Callable[[Refresh, Path, _Judged], None],
    keep_progress: Callable[[Refresh, Path], None],
    max_delegations: int = DEVICE_DELEGATIONS,
) -> tuple[Refresh, _Judged]:
    """Run it once.

    Args:
        directory: what is held; prepared, and locked by the caller.
        first_root: the root to start from, which the caller trusts.
        source: where the rest is read from.
        judge: looks at the refreshed metadata and raises where nothing of it is to be kept.
        keep: adopts from the private directory what was judged.
        keep_progress: adopts what may stay of a run that failed (TUF specification §5.3.8, §5.4.5).
        max_delegations: roles that one look-up may visit.

    Raises:
        NetworkError, TrustError, RepositoryError: and whatever `judge` raises.
        HostError: the directory cannot be used.
    """
    working = directory.begin_refresh()
    try:
        refresh = Refresh(working, first_root, source, max_delegations=max_delegations)
        try:
            refresh.run()
            judged = judge(refresh)
        except SutureError:
            keep_progress(refresh, working)
            raise
        keep(refresh, working, judged)
        refresh.close()
    finally:
        directory.end_refresh(working)
    return refresh, judged
