"""The only place that constructs services: one module a process role, imported only by that role.

A role imports what it needs and no more: signing in alone brings 65 MB of web3 along.
"""

import importlib
from collections.abc import Callable

from leasebox.config import ROLE_NAMES, Settings

__all__ = ["ROLE_NAMES", "run_role"]


def run_role(role: str, settings: Settings, ready: Callable[[str], None]) -> None:
    """Run one role until SIGTERM or SIGINT, then drain; call `ready` with its addresses once it answers."""
    importlib.import_module(f"leasebox.wiring.{role}").run(settings, ready)
