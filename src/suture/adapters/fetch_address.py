"""The grammar of repository addresses: https anywhere, http on loopback or where a person allowed it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from suture.core.errors import InputError


@dataclass(frozen=True, slots=True)
class Origin:
    """RFC 6454: what one connection serves."""

    scheme: str
    host: str
    port: int


def split_address(url: str, allow_http_hosts: Collection[str]) -> tuple[Origin, str]:
    """An absolute address as its origin and the path to ask for.

    Args:
        url: http or https.
        allow_http_hosts: hosts other than loopback for which plain http is allowed.

    Raises:
        InputError: another scheme, credentials, a fragment, no host, or plain http to a host that is not allowed it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InputError(f"cannot use {url[:200]!r} as a repository address: {error}") from error
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.fragment:
        raise InputError(f"cannot use {url[:200]!r} as a repository address: write it as https://host/path")
    if parts.scheme == "http" and not _is_loopback(host) and host not in allow_http_hosts:
        raise InputError(
            f"cannot use {url[:200]!r} as a repository address: plain http is for loopback only",
            advice="use https, or allow this host for http in the settings",
        )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Origin(parts.scheme, host, port or (443 if parts.scheme == "https" else 80)), path


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
