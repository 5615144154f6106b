"""The process from which `leasebox up` forks its roles: `python -m leasebox.cli.nursery [fresh] DESCRIPTOR`."""

import socket
import sys

from leasebox import wiring
from leasebox.cli import main
from leasebox.infra.nursery import Stage, attend

FRESH = "fresh"
"""Said when there is no database yet: then a migration is due, and first of all."""
# Alembic itself is not among it: whoever migrates imports that, so that no role keeps its pages.
_TABLES = ("asyncpg", "leasebox.tables")


def stages(*, home: str) -> tuple[Stage, ...]:
    """What to import, in this order; home: FRESH or "used"."""
    tables = _TABLES if home == FRESH else ()
    return Stage("migrate", ("leasebox.cli.migrate", *tables)), Stage("serve", ("leasebox.cli.serve", *wiring.NEEDED))


if __name__ == "__main__":
    home = FRESH if FRESH in sys.argv else "used"
    words = attend(socket.socket(fileno=int(sys.argv[-1])), stages(home=home))
    if words:
        main(words, prog_name="leasebox")
