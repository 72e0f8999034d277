"""The held metadata, verified again by `tuf.ngclient` without network: for fetches when nothing changed."""

from __future__ import annotations

from suture.adapters.tuf_held import TrustDirectory
from suture.adapters.tuf_judgement import Question
from suture.adapters.tuf_memory import role_names
from suture.adapters.tuf_refresh import Refresh, Source, read_nothing
from suture.adapters.tuf_workflow import run_workflow
from suture.core.digests import Digest, digest_bytes
from suture.core.errors import NetworkError, RepositoryError, RolledBackError, SignatureError
from suture.trust.floors import verify_floors
from suture.trust.freshness import TIMESTAMP
from suture.trust.paths import index_path


def reopen(directory: TrustDirectory, first_root_digest: Digest, question: Question) -> Refresh | None:
    """Run the client workflow over what is held.

    Args:
        directory: prepared, and locked by the caller.
        first_root_digest: the pinned one.
        question: names the product and baseline, and holds the floors.

    Returns:
        The loaded metadata, or None where the directory is damaged or too old to stand.

    Raises:
        ExpiredError: what is held is out of date.
    """
    first_root, timestamp = directory.read_first_root(), directory.read_role(TIMESTAMP)
    if first_root is None or timestamp is None or digest_bytes(first_root) != first_root_digest:
        return None
    place = (question.product, question.baseline)

    def look(refresh: Refresh) -> None:
        refresh.find(index_path(*place))
        loaded = [role for name in role_names(question.baseline) if (role := refresh.loaded(name)) is not None]
        verify_floors(question.floors, loaded)

    source = Source("offline:/", read_nothing, timestamp)
    try:
        refresh, _ = run_workflow(
            directory.verified, first_root, source, judge=look, keep=_keep_nothing, keep_progress=_keep_nothing
        )
    except (NetworkError, RepositoryError, RolledBackError, SignatureError):
        return None
    return refresh


def _keep_nothing(*_: object) -> None:
    """What is held is there already."""
