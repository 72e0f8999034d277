"""The plain Python decoder of the executable-aware engine: slow, short, and the second reading of spec/delta.md §4.

It agrees with the kernel bit for bit (tests/delta). It is for tests and for people who write another decoder; no device
runs it. Pure: bytes in, bytes out.
"""

from suture.delta.reference.walk import apply

__all__ = ["apply"]
