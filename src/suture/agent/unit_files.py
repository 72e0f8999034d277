"""The systemd units of the agent: a service that runs always, or a timer that starts it now and then. Text only."""

from __future__ import annotations

_SERVICE = """[Unit]
Description=Suture agent: background security improvements
Documentation=man:systemd.service(5)
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart={python} -I -m suture agent run
Restart=on-failure
RestartSec=30
StateDirectory=suture
StateDirectoryMode=0755
ConfigurationDirectory=suture
UMask=0022
Nice=10
IOSchedulingClass=idle
TimeoutStopSec=180

[Install]
WantedBy=multi-user.target
"""

_GRAFT = """[Unit]
Description=Suture: grafts of background security improvements, before the services that use them
Documentation=man:systemd.special(7)
DefaultDependencies=no
After=local-fs.target
RequiresMountsFor=/var/lib/suture
Before=basic.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={python} -I -m suture graft restore
UMask=0022
TimeoutStartSec=180

[Install]
WantedBy=basic.target
"""

_ONCE = """[Unit]
Description=Suture agent: one look for background security improvements
Documentation=man:systemd.service(5)
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={python} -I -m suture agent once
StateDirectory=suture
StateDirectoryMode=0755
ConfigurationDirectory=suture
UMask=0022
Nice=10
IOSchedulingClass=idle
"""

_TIMER = """[Unit]
Description=Suture agent: look for background security improvements every hour

[Timer]
OnBootSec=2min
OnUnitActiveSec=1h
RandomizedDelaySec=12min
Persistent=true

[Install]
WantedBy=timers.target
"""


def unit_files(python: str) -> dict[str, str]:
    """The units by the paths where an administrator puts them.

    Args:
        python: the interpreter that Suture is installed in, absolute.

    Returns:
        ``suture-agent.service`` alone is enough; the timer and its service are for machines where nothing may stay.
        ``suture-graft.service`` is for products with the graft `overlay`: their mounts end with the running system.
    """
    directory = "/etc/systemd/system"
    return {
        f"{directory}/suture-agent.service": _SERVICE.format(python=python),
        f"{directory}/suture-graft.service": _GRAFT.format(python=python),
        f"{directory}/suture-look.service": _ONCE.format(python=python),
        f"{directory}/suture-look.timer": _TIMER,
    }
