"""Verbs of admins' sessions, and those that reach over several slices."""

import secrets
from datetime import datetime

from leasebox.admin import store
from leasebox.admin.model import ADMIN_SESSION_TTL, TOKEN_PREFIX, Admin, AdminSession, AdminSessionId, Role
from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.identity import standing
from leasebox.identity.model import Signer
from leasebox.infra.db import Tx
from leasebox.leases import oversight
from leasebox.leases.model import LeasePolicy
from leasebox.values.ids import TenantId
from leasebox.values.secret import Secret, fingerprint


async def sign_in(tx: Tx, signer: Signer, role: Role, at: datetime, request_id: str) -> AdminSession:
    """A session of an hour for a wallet on the list."""
    token = Secret(TOKEN_PREFIX + secrets.token_urlsafe(32))
    admin = Admin(signer.address.lower(), role, AdminSessionId.new(at), at + ADMIN_SESSION_TTL)
    await store.insert(tx, admin.session_id, fingerprint(token), admin.wallet, signer.chain_id, at, admin.expires_at)
    await record(tx, admin.act(at, request_id, "admin.sign_in", str(admin.session_id), role=role.value))
    return AdminSession(token, admin)


async def note_stranger(tx: Tx, signer: Signer, at: datetime, request_id: str) -> None:
    """Write down that a wallet which is not on the list tried to sign in as an admin."""
    actor = f"wallet:{signer.address.lower()}"
    await record(tx, Act(at, actor, "admin.sign_in", actor, None, request_id, outcome="refused"))


async def sign_out(tx: Tx, admin: Admin, at: datetime, request_id: str) -> None:
    """End the admin's session."""
    if await store.revoke(tx, admin.session_id, at):
        await record(tx, admin.act(at, request_id, "admin.sign_out", str(admin.session_id)))


async def forget_sessions(tx: Tx, before: datetime) -> int:
    """Drop the rows of sessions that ended before a moment; how many."""
    return await store.drop_old(tx, before)


async def change_status(
    tx: Tx,
    admin: Admin,
    tenant_id: TenantId,
    status: standing.TenantStatus,
    note: str,
    policy: LeasePolicy,
    at: datetime,
    request_id: str,
) -> None:
    """Suspend, close or reactivate a tenant; its credentials follow within a second. Raises NotFound.

    Closing releases all its leases, so that mail to them is refused; reactivating does not bring them back. A status
    that it has already changes nothing and is not written down again.
    """
    before = await standing.set_status(tx, tenant_id, status)
    if before == status:
        return
    released = await oversight.release_all(tx, tenant_id, policy, at) if status == "closed" else 0
    detail = {"before": before, "after": status, "note": note, "leases_released": released}
    await record(tx, admin.act(at, request_id, "tenant.change_status", str(tenant_id), tenant_id, **detail))
