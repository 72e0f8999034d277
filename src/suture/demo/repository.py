"""The repository as any web server's owner sees it: its static files and its request log, read with nothing of Suture.

Must never verify with Suture's own code what Suture claims: CSAF is judged by the `csaf` package, digests by hashlib.
"""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import datetime
from pathlib import Path

from suture.core.errors import ServiceError
from suture.demo.processes import Processes
from suture.demo.record import claim


def published_file(targets: Path, name: str) -> Path:
    """The one target whose name, without its digest, is `name`.

    Raises:
        ServiceError: there is none, or there are several.
    """
    found = list(targets.rglob(f"*.{name}"))
    exact = [path for path in found if path.name.partition(".")[2] == name]
    if len(exact) != 1:
        raise ServiceError(f"cannot find {name} in {targets}: {len(exact)} files are named so")
    return exact[0]


def check_advisory(targets: Path, level: int, cve: str, processes: Processes) -> str:
    """The level's advisory is the one that its manifest names by digest, says the CVE, and is valid CSAF 2.0.

    Returns:
        The advisory's id.

    Raises:
        ServiceError: one of these does not hold.
    """
    manifest = json.loads(published_file(targets, f"{level}.json").read_bytes())
    advisory = published_file(targets, f"{level}.csaf.json")
    data = advisory.read_bytes()
    named = manifest["advisory"]["digest"]
    claim(named == f"sha256:{hashlib.sha256(data).hexdigest()}", "the manifest names the advisory's own digest")
    document = json.loads(data)
    cves = [entry.get("cve") for entry in document["vulnerabilities"]]
    claim(cve in cves and document["document"]["csaf_version"] == "2.0", f"the advisory is CSAF 2.0 and names {cve}")
    done = processes.run("csaf", [sys.executable, "-m", "csaf", "validate", "--spec-version", "v20", advisory])
    claim(done.code == 0, f"the csaf package finds the advisory valid; it says: {(done.output + done.errors)[-300:]}")
    return str(document["document"]["tracking"]["id"])


def requests_in(log: Path) -> list[tuple[float, str, int]]:
    """What the repository's server logged: moment (seconds since the epoch), path and status of each request."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").split("\n")[:-1]]
    return [(datetime.fromisoformat(line["at"]).timestamp(), line["path"], line["status"]) for line in lines]
