"""A port that nobody is likely to take before its server does: free, and outside the system's ephemeral range.

A port that the kernel hands out (bind to 0, look, close) may be a connection's source port a moment later.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

from suture.core.errors import HostError

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _HIGHEST = 10_000, 60_000
_TRIES = 200


def quiet_port(chance: random.Random | None = None) -> int:
    """A free TCP port of 127.0.0.1 below the ephemeral range.

    Raises:
        HostError: none was found.
    """
    draw = chance or random.SystemRandom()
    for _ in range(_TRIES):
        port = draw.randrange(_LOWEST, min(_HIGHEST, _first_ephemeral()))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise HostError("cannot find a free port on 127.0.0.1")


def _first_ephemeral() -> int:
    try:
        return max(_LOWEST + 1000, int(_RANGE.read_text().split()[0]))
    except (OSError, ValueError, IndexError):
        return 32_768
