"""Write down every act that changes rights, money, settings or a mailbox's life, in the act's own transaction."""

from leasebox.audit import store
from leasebox.audit.model import Act
from leasebox.infra.db import Tx


async def record(tx: Tx, act: Act) -> None:
    """Add one row to the audit log. It commits or vanishes together with what it tells."""
    await store.insert(tx, act)
