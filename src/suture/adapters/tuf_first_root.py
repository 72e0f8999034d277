"""Where trust begins: the first root, whose digest a person brought to the device (TUF specification §5.2)."""

from __future__ import annotations

from suture.adapters.fetch import Deadline, Fetcher
from suture.core.digests import Digest, digest_bytes
from suture.core.errors import SignatureError

_MAXIMUM_ROOT_BYTES = 512_000


def fetch_first_root(fetcher: Fetcher, base: str, pinned: Digest, deadline: Deadline) -> bytes:
    """1.root.json from one address, if it is the pinned one.

    Raises:
        SignatureError: it is another.
        NetworkError: it did not come.
    """
    body = fetcher.get(f"{base}/metadata/1.root.json", maximum_bytes=_MAXIMUM_ROOT_BYTES, deadline=deadline).body or b""
    if digest_bytes(body) != pinned:
        raise SignatureError(
            f"cannot trust {base}: its first root is {digest_bytes(body)}, pinned is {pinned}",
            advice="check that the product file is the one that the vendor hands out now",
        )
    return body
