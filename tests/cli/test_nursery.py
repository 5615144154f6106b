"""What the roles' nursery imports: all that a role needs, in small steps, and no thread."""

import subprocess
import sys

from leasebox import wiring
from leasebox.cli import nursery

IMPORTS = """
import importlib, os, sys
from leasebox.cli import nursery
for stage in nursery.stages(home=sys.argv[1]):
    for module in stage.modules:
        importlib.import_module(module)
    print(stage.command, len(os.listdir("/proc/self/task")), "alembic.command" in sys.modules, "siwe" in sys.modules)
"""


def imported(home: str) -> list[str]:
    done = subprocess.run([sys.executable, "-P", "-c", IMPORTS, home], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_nothing_that_it_imports_starts_a_thread_or_brings_what_only_one_role_needs() -> None:
    """A fork copies one thread; a lock that another one held would stay locked for ever."""
    assert imported("used") == ["migrate 1 False False", "serve 1 False False"]


def test_without_a_database_the_migration_comes_first_and_leaves_no_role_what_only_it_needs() -> None:
    assert imported(nursery.FRESH) == ["migrate 1 False False", "serve 1 False False"]
    migrate, _ = nursery.stages(home=nursery.FRESH)
    assert "leasebox.tables" in migrate.modules


def test_every_role_is_among_what_is_imported() -> None:
    _, serve = nursery.stages(home="used")
    assert {f"leasebox.wiring.{role}" for role in wiring.ROLE_NAMES} <= {*serve.modules}
