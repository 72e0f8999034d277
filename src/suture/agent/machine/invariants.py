"""What must hold of a product's state after every transition: tests and the journal check it before each commit."""

from __future__ import annotations

from suture.agent.machine.choice import known_bad
from suture.agent.machine.exposure import closed_cves, known_fixes
from suture.agent.machine.state import IN_PLACE, Kind, LevelState, ProductState, Step


def broken_invariants(state: ProductState) -> tuple[str, ...]:
    """The invariants that `state` breaks, as sentences; empty when it is sound."""
    broken: list[str] = []
    levels = [record.level for record in state.levels]
    if levels != sorted(set(levels)):
        broken.append("levels are not ascending and unique")
    if state.active and state.record(state.active) is None:
        broken.append("the active level has no record")
    for record in state.levels:
        if record.state in IN_PLACE and record.level != state.active:
            broken.append(f"level {record.level} is {record.state} but not active")
        if record.state is LevelState.FETCHING and (state.operation is None or state.operation.level != record.level):
            broken.append(f"level {record.level} is being fetched by nobody")
    active = state.record(state.active)
    if active is not None and active.state not in IN_PLACE and state.operation is None:
        broken.append(f"the active level {active.level} is {active.state}")
    if active is not None and state.watch is None:
        broken.append("a level is active and nobody watches who runs the old files")
    broken.extend(_broken_operation(state))
    proved = state.watch is not None and state.watch.clean
    if active is not None and active.state in (LevelState.EFFECTIVE, LevelState.EFFECTIVE_OWN) and not proved:
        broken.append("a level is effective without proof")
    expected = {cve for cve in known_fixes(state) if cve not in closed_cves(state)}
    if {cve for cve, _ in state.exposed_since} != expected:
        broken.append("the open exposures are not those that the effective level leaves open")
    return tuple(broken)


def _broken_operation(state: ProductState) -> list[str]:
    operation = state.operation
    if operation is None:
        return []
    broken: list[str] = []
    if operation.number >= state.next_number:
        broken.append("an operation has a number that will be given again")
    if operation.step in (Step.RESTART, Step.CHECK) and state.active != operation.level:
        broken.append("an operation restarts for a level that is not active")
    target = state.record(operation.level)
    goes_down = operation.kind in (Kind.REMOVE, Kind.ROLL_BACK) and operation.step is Step.GRAFT
    bad = target is not None and known_bad(target) is not None and operation.reason != "pointer-moved"
    if goes_down and bad:
        broken.append("an operation goes down to a bad level")
    if operation.kind is Kind.SUPERSEDE and operation.level != 0:
        broken.append("a superseded improvement does not go to the baseline")
    return broken
