"""How a tenant stands with the operator: active, suspended or closed. Only an active one's credentials are let in."""

from typing import Literal, cast

from leasebox.identity import oversight_store
from leasebox.infra.db import Tx
from leasebox.values.errors import NotFound
from leasebox.values.ids import TenantId

TenantStatus = Literal["active", "suspended", "closed"]


async def set_status(tx: Tx, tenant_id: TenantId, status: TenantStatus) -> TenantStatus:
    """Change a tenant's status; what it was. Holds the tenant's row until commit, so of two changes each sees the
    other's outcome. Whoever calls writes the audit row. Raises NotFound.
    """
    before = await oversight_store.lock_tenant(tx, tenant_id)
    if before is None:
        raise NotFound("No such tenant.")
    if before != status:
        await oversight_store.set_status(tx, tenant_id, status)
    return cast("TenantStatus", before)
