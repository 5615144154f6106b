"""SQL of mailboxes' credentials."""

from asyncpg import Record

from leasebox.infra.db import Tx

_FIND = """
SELECT a.address, l.id, l.tenant_id, l.mailbox_id, l.agent_id, l.state, l.frozen_at, l.expires_at, l.password_hash,
       l.password_set_at, t.status AS tenant_status, g.status AS agent_status
FROM addresses a JOIN leases l ON l.id = a.lease_id JOIN tenants t ON t.id = l.tenant_id
JOIN agents g ON g.id = l.agent_id WHERE a.address = $1
"""


async def find(tx: Tx, address: str) -> Record | None:
    return await tx.one(_FIND, address)
