"""May this device take that level at all? Rules beyond the manifest's own form. Pure.

Each rule raises an error whose code is the answer that the report and `suture why` give.
"""

from __future__ import annotations

from suture.core.errors import NotAllowedError, WrongTargetError
from suture.improvement.manifest import CommandCheck, HttpCheck, Manifest, RestartClass
from suture.wire.product import Product

_NEEDS_MORE = frozenset({RestartClass.ZONE, RestartClass.SYSTEM})


def verify_eligible(manifest: Manifest, product: Product) -> None:
    """Check a manifest against the product file, which is the device's own list of what its vendor may touch.

    Raises:
        WrongTargetError: a component that the product file does not have.
        NotAllowedError: a unit, service or check that it does not allow, or a restart that this agent cannot do.
    """
    components = {component.name for component in product.components}
    for change in manifest.components:
        if change.name not in components:
            raise WrongTargetError(f"cannot improve {change.name}: {product.product} has no such component here")
    for unit in manifest.restart.units:
        if unit not in product.units:
            raise NotAllowedError(f"cannot restart {unit}: the product file does not allow it")
    for service in manifest.restart.services:
        if service not in product.services:
            raise NotAllowedError(f"cannot restart {service}: the product file does not allow it")
    commands = {command.name for command in product.commands}
    urls = {url.name for url in product.urls}
    for check in manifest.health:
        if isinstance(check, CommandCheck) and check.name not in commands:
            raise NotAllowedError(f"cannot run the check {check.name}: the product file has no such command")
        if isinstance(check, HttpCheck) and check.name not in urls:
            raise NotAllowedError(f"cannot ask {check.name}: the product file has no such address")
    if manifest.restart.category in _NEEDS_MORE:
        raise NotAllowedError(f"cannot restart the {manifest.restart.category}: this agent knows this machine alone")
