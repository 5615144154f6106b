"""SQL of the audit log."""

from leasebox.audit.model import Act
from leasebox.infra.db import Tx
from leasebox.values.ids import AuditId

_INSERT = """
INSERT INTO audit_rows (id, at, tenant_id, actor, action, resource, outcome, request_id, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""


async def insert(tx: Tx, act: Act) -> None:
    await tx.run(
        _INSERT,
        AuditId.new(act.at),
        act.at,
        act.tenant_id,
        act.actor,
        act.action,
        act.resource,
        act.outcome,
        act.request_id,
        act.detail,
    )
