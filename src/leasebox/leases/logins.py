"""Signing in as a mailbox: the leased address and its own password, for SMTP and IMAP. The lease ends the right."""

from datetime import datetime
from enum import Enum

import msgspec

from leasebox.identity.model import Caller, Scope
from leasebox.infra.db import Tx
from leasebox.leases import logins_store
from leasebox.leases.passwords import hashed, matches
from leasebox.values.ids import AgentId, LeaseId, MailboxId, SessionId, TenantId
from leasebox.values.secret import Secret


class Standing(Enum):
    """What a mailbox's credentials are worth now. GONE: no such login, ended, or another password by now."""

    GOOD = "good"
    GONE = "gone"
    PAUSED = "paused"
    FROZEN = "frozen"
    INACTIVE = "inactive"


class Login(msgspec.Struct, frozen=True):
    """A mailbox's credentials as they stand. set_at: when the password was set; a newer one ends all sessions.

    expires_at: when the lease ends. blocked: its tenant or agent may act no more.
    """

    address: str
    lease_id: LeaseId
    mailbox_id: MailboxId
    tenant_id: TenantId
    agent_id: AgentId
    state: str
    frozen: bool
    blocked: bool
    expires_at: datetime
    set_at: datetime
    password_hash: Secret

    def standing(self, at: datetime) -> Standing:
        """What these credentials are worth at a moment."""
        if self.state == "released" or self.expires_at <= at:
            return Standing.GONE
        if self.blocked:
            return Standing.INACTIVE
        if self.frozen:
            return Standing.FROZEN
        return Standing.PAUSED if self.state == "paused" else Standing.GOOD

    def still(self, now: "Login | None", at: datetime) -> Standing:
        """What they are worth to a session that began with them; `now`: what stands behind the address by now."""
        if now is None or (now.lease_id, now.set_at) != (self.lease_id, self.set_at):
            return Standing.GONE
        return now.standing(at)

    def caller(self, *scopes: Scope) -> Caller:
        """Whoever signed in, as the verbs know callers: the lease's agent, limited to this mailbox and some scopes."""
        return Caller(
            tenant_id=self.tenant_id,
            agent_id=self.agent_id,
            credential_id=SessionId.of(self.lease_id),
            scopes=frozenset(scopes),
            mailbox_ids=frozenset({self.mailbox_id}),
            wallet_address=None,
            chain_id=None,
            expires_at=self.expires_at,
            tenant_status="active",
        )


_NOBODY = hashed(Secret("nobody has this password"))


async def find(tx: Tx, address: str) -> Login | None:
    """The latest lease's login behind a canonical address; None for one that was never leased.

    Addresses are public, so no tenant narrows this.
    """
    row = await logins_store.find(tx, address)
    if row is None:
        return None
    return Login(
        row["address"],
        LeaseId.of(row["id"]),
        MailboxId.of(row["mailbox_id"]),
        TenantId.of(row["tenant_id"]),
        AgentId.of(row["agent_id"]),
        row["state"],
        row["frozen_at"] is not None,
        row["tenant_status"] != "active" or row["agent_status"] != "active",
        row["expires_at"],
        row["password_set_at"],
        Secret(row["password_hash"]),
    )


def opens(login: Login | None, password: Secret) -> bool:
    """Whether this is its password. Costs the same for a login that does not exist; about 0.1 ms of CPU."""
    sound = matches(_NOBODY if login is None else login.password_hash.reveal(), password)
    return sound and login is not None
