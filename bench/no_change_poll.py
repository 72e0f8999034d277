"""The poll that finds nothing new: Suture's cheap question against stock `tuf.ngclient`, in turn, in fresh processes.

Requests, connections and the bytes of the answers (heads and bodies, before TLS) are counted by the server, CPU time by
the kernel (getrusage(2)), peak memory by VmHWM (proc(5)). Both ask the same real repository over loopback; both hold
its newest state beforehand. Writes build/bench/no_change_poll.json.
"""

from __future__ import annotations

import argparse
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from accounting import KEPT, keep, machine

from suture.testing.certificates import server_context, write_certificate
from suture.testing.http_server import serve
from suture.testing.repository import SimulatedRepository

Figures = dict[str, list[dict[str, float]]]

OURS = """
import sys
from pathlib import Path
import msgspec
from suture.adapters.clock import SystemClock
from suture.adapters.tuf_client import RepositoryClient
from suture.core.digests import Digest
from suture.trust.floors import Floors
url, directory, pinned, floors_file, authorities = sys.argv[1:]
floors_path = Path(floors_file)
floors = msgspec.json.decode(floors_path.read_bytes(), type=Floors) if floors_path.exists() else Floors()
ways = {"ca_file": Path(authorities)} if authorities else {}
with RepositoryClient(
    "darkroom", "1.0-x86_64", Path(directory), [url], Digest(pinned), floors, SystemClock(), **ways
) as client:
    answer = client.poll()
    print(len(answer.index.levels), client.traffic.bytes_received)
floors_path.write_bytes(msgspec.json.encode(answer.floors))
"""

PEER = """
import sys
from pathlib import Path
from tuf.ngclient import Updater
url, directory, root = sys.argv[1:]
targets = Path(directory, "targets")
targets.mkdir(parents=True, exist_ok=True)
updater = Updater(directory, url + "/metadata/", str(targets), url + "/targets/", bootstrap=Path(root).read_bytes())
updater.refresh()
info = updater.get_targetinfo("improvements/darkroom/1.0-x86_64/index.json")
path = updater.find_cached_target(info) or updater.download_target(info)
print(Path(path).stat().st_size, 0)
"""


def measure(code: str, arguments: list[str], authorities: str) -> tuple[float, float, str]:
    """CPU milliseconds, peak KiB and the output of one fresh process."""
    probe = (
        "import resource, sys\n"
        + code
        + "\nusage = resource.getrusage(resource.RUSAGE_SELF)\n"
        # ru_maxrss would remember the parent's memory; VmHWM begins with exec (proc(5)).
        + "peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        + "print((usage.ru_utime + usage.ru_stime) * 1000, peak)\n"
    )
    environment = {**os.environ, **({"SSL_CERT_FILE": authorities} if authorities else {})}
    run = subprocess.run(
        [sys.executable, "-c", probe, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    answer, usage = run.stdout.strip().splitlines()
    cpu, peak = usage.split()
    return float(cpu), float(peak), answer


def main() -> None:
    """Run the rounds and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=KEPT / "no_change_poll.json")
    options = parser.parse_args()
    here = machine()

    transports = {name: rounds_of(options.rounds, tls=name == "https") for name in ("https", "http")}
    result = {
        "bench": "no_change_poll",
        "machine": here,
        "rounds": options.rounds,
        "transports": {name: summary(figures) for name, figures in transports.items()},
    }
    keep(result, options.output)
    for name, figures in transports.items():
        shown = summary(figures)
        print(f"{name}, loopback, medians of {options.rounds} rounds")
        for way, row in {**shown["medians"], "peer / ours": shown["peer_over_ours"]}.items():
            print(f"  {way:18}", "  ".join(f"{key} {value}" for key, value in row.items()))


def rounds_of(rounds: int, *, tls: bool) -> Figures:
    """Both ways and a bare interpreter, in turn."""
    figures: Figures = {"suture": [], "tuf.ngclient": [], "bare interpreter": []}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        authorities, context = "", None
        if tls:
            certificate = write_certificate(place)
            context = server_context(certificate)
            # As on a device: the system's whole bundle is loaded to find one authority.
            bundle = Path(ssl.get_default_verify_paths().openssl_cafile)
            system = bundle.read_bytes() if bundle.is_file() else b""
            (place / "authorities.pem").write_bytes(system + certificate.read_bytes())
            authorities = str(place / "authorities.pem")
        repository = SimulatedRepository(place / "repository")
        repository.publish(1, b'{"level": 1}')
        with serve(repository.directory, tls=context) as server:
            root = str(repository.directory / "metadata" / "1.root.json")
            pinned = str(repository.first_root_digest)
            ways = {
                "suture": (OURS, [server.url, str(place / "ours"), pinned, str(place / "floors"), authorities]),
                "tuf.ngclient": (PEER, [server.url, str(place / "peer"), root]),
                "bare interpreter": ("print(0)", []),
            }
            for code, arguments in ways.values():
                measure(code, arguments, authorities)  # the first poll fills the caches
            for _ in range(rounds):
                for way, (code, arguments) in ways.items():
                    server.clear_log()
                    cpu, peak, _answer = measure(code, arguments, authorities)
                    figures[way].append(
                        {
                            "requests": len(server.log),
                            "connections": server.connections,
                            "bytes_sent_by_server": sum(one.head_bytes + one.body_bytes for one in server.log),
                            "cpu_milliseconds": round(cpu, 1),
                            "peak_mebibytes": round(peak / 1024, 1),
                        }
                    )
    return figures


def summary(figures: Figures) -> dict[str, Any]:
    """Medians, ratios of the peer to us, and every round."""
    medians = {
        way: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        for way, rounds in figures.items()
    }
    ratios = {
        key: round(medians["tuf.ngclient"][key] / medians["suture"][key], 2) if medians["suture"][key] else None
        for key in medians["suture"]
    }
    return {"medians": medians, "peer_over_ours": ratios, "all": figures}


if __name__ == "__main__":
    main()
