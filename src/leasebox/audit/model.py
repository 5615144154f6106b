"""What one act leaves behind."""

from datetime import datetime
from typing import Any

import msgspec

from leasebox.values.ids import TenantId


class Act(msgspec.Struct, frozen=True):
    """Who did what to which thing. actor: `agt_…`, `key_…`, `wallet:0x…` or `job:…`; action: `lease.release`."""

    at: datetime
    actor: str
    action: str
    resource: str
    tenant_id: TenantId | None
    request_id: str
    outcome: str = "done"
    detail: dict[str, Any] = {}
