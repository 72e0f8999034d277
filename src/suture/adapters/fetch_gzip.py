"""A gzip body (RFC 9110 §8.4.1.3), unpacked while it arrives and never beyond its bound.

Only for small files whose signature or digest is judged afterwards; what is unpacked here is as untrusted as it was.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator

from suture.adapters.fetch_answers import TooLongError
from suture.core.errors import UnreachableError

_GZIP = 31
"""zlib's window bits for gzip framing with the largest window, 32 KiB: all the memory that unpacking takes."""


def unzipped(url: str, chunks: Iterator[bytes], maximum_bytes: int) -> Generator[bytes, None, None]:
    """The content of one gzip member.

    Args:
        url: for messages.
        chunks: the body as it arrives.
        maximum_bytes: hard bound of the content.

    Raises:
        TooLongError: the content is longer (a bomb, perhaps).
        UnreachableError: it is no whole gzip member, or something follows it.
    """
    unpacker, produced = zlib.decompressobj(_GZIP), 0
    try:
        for chunk in chunks:
            left = chunk
            while left and not unpacker.eof:
                content = unpacker.decompress(left, maximum_bytes - produced + 1)
                left = unpacker.unconsumed_tail
                produced += len(content)
                if produced > maximum_bytes:
                    raise TooLongError(f"cannot use {url}: it is longer than {maximum_bytes:,} bytes")
                yield content
            if left or unpacker.unused_data:
                raise UnreachableError(f"cannot read {url}: something follows its gzip body")
    except zlib.error as error:
        raise UnreachableError(f"cannot read {url}: it is no gzip body, as it says") from error
    if not unpacker.eof:
        raise UnreachableError(f"cannot read {url}: its gzip body broke off")
