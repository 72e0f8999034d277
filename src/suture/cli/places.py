"""Where this command's device lies: the common options and the environment, read once. Decides nothing else."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from suture.agent.places import STATE_VARIABLE, Places, places_to_read, resolve_places


def places_from(arguments: argparse.Namespace) -> Places:
    """The places that the common options, the environment and the caller's rights name. Touches no file.

    Args:
        arguments: parsed by `suture.cli.main`; holds ``state_directory`` and ``configuration_directory``.
    """
    return resolve_places(
        arguments.state_directory,
        arguments.configuration_directory,
        os.environ,
        os.geteuid() == 0,
        Path.home(),
    )


def places_to_read_from(arguments: argparse.Namespace) -> Places:
    """As `places_from`, for commands that only read: without an agent of their own, people see the system's."""
    was_chosen = bool(arguments.state_directory or os.environ.get(STATE_VARIABLE))
    return places_to_read(places_from(arguments), was_chosen=was_chosen)
