"""Which CVEs this device is exposed to, and since when. Only *effective* closes one; leaving a level opens it again."""

from __future__ import annotations

import msgspec

from suture.agent.machine.state import FixedCve, LevelState, ProductState


def closed_cves(state: ProductState) -> frozenset[str]:
    """CVEs whose fix is in effect now."""
    record = state.record(state.active)
    if record is None or record.state not in (LevelState.EFFECTIVE, LevelState.EFFECTIVE_OWN):
        return frozenset()
    return frozenset(fix.cve for fix in record.fixes)


def known_fixes(state: ProductState) -> dict[str, tuple[FixedCve, int]]:
    """Every CVE that some known level fixes, with the lowest such level."""
    known: dict[str, tuple[FixedCve, int]] = {}
    for record in state.levels:
        for fix in record.fixes:
            known.setdefault(fix.cve, (fix, record.level))
    return known


def with_exposures(state: ProductState, now: str) -> ProductState:
    """The same state with `exposed_since` brought up to date: new and reopened exposures begin at `now`."""
    closed = closed_cves(state)
    since = dict(state.exposed_since)
    still_open = {cve: since.get(cve, now) for cve in known_fixes(state) if cve not in closed}
    return msgspec.structs.replace(state, exposed_since=tuple(sorted(still_open.items())))
