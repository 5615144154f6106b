"""Frozen words of identity, and its settings."""

from datetime import datetime, timedelta
from typing import Literal, get_args

import msgspec

from leasebox.audit.model import Act
from leasebox.values.errors import MissingScope, NotFound
from leasebox.values.ids import AgentId, KeyId, MailboxId, SessionId, TenantId
from leasebox.values.secret import Secret

Scope = Literal["mail:allocate", "mail:read", "mail:send", "webhook:write", "billing:read", "billing:pay", "keys:write"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
SESSION_TTL = timedelta(hours=1)
CHALLENGE_TTL = timedelta(minutes=5)


class SignInPolicy(msgspec.Struct, frozen=True):
    """What a sign-in message says of us (EIP-4361). domain: RFC 3986 authority; chain_ids: the first is the default."""

    domain: str
    uri: str
    chain_ids: tuple[int, ...]


def did_pkh(chain_id: int, address: str) -> str:
    """A wallet as a decentralised identifier (did:pkh, CAIP-10 inside): `did:pkh:eip155:84532:0x…`."""
    return f"did:pkh:eip155:{chain_id}:{address}"


class Challenge(msgspec.Struct, frozen=True):
    """An EIP-4361 message to be signed within `CHALLENGE_TTL`."""

    message: str
    nonce: str
    expires_at: datetime


class Signer(msgspec.Struct, frozen=True):
    """Who signed a message we issued. address: EIP-55 checksummed; chain_id: EIP-155."""

    address: str
    chain_id: int
    intent: str

    @property
    def did(self) -> str:
        """The wallet's did:pkh."""
        return did_pkh(self.chain_id, self.address)


class Caller(msgspec.Struct, frozen=True):
    """An authenticated session or API key. mailbox_ids: None means all of the tenant's mailboxes.

    wallet_address: EIP-55 checksummed, of the wallet that signed in; None for an API key.
    """

    tenant_id: TenantId
    agent_id: AgentId | None
    credential_id: SessionId | KeyId
    scopes: frozenset[str]
    mailbox_ids: frozenset[MailboxId] | None
    wallet_address: str | None
    chain_id: int | None
    expires_at: datetime | None
    tenant_status: str

    @property
    def actor(self) -> str:
        """Who the audit log names: the key, or the agent that signed in."""
        return str(self.credential_id if isinstance(self.credential_id, KeyId) else self.agent_id)

    @property
    def bound_agent(self) -> AgentId | None:
        """The one agent that an API key is limited to; None for a session and for a key of the whole tenant."""
        return self.agent_id if isinstance(self.credential_id, KeyId) else None

    @property
    def did(self) -> str | None:
        """The did:pkh of the wallet that signed in; None for an API key."""
        return None if self.wallet_address is None else did_pkh(self.chain_id or 0, self.wallet_address)

    def require(self, scope: str) -> None:
        """Raises MissingScope (403)."""
        if scope not in self.scopes:
            raise MissingScope(scope)

    def reach(self, mailbox_id: MailboxId) -> None:
        """Raises NotFound for a mailbox outside this key's limits, as if it did not exist."""
        if self.mailbox_ids is not None and mailbox_id not in self.mailbox_ids:
            raise NotFound("No such mailbox.")

    def act(self, at: datetime, request_id: str, action: str, resource: str) -> Act:
        """An audit row's beginning for something this caller did."""
        return Act(at, self.actor, action, resource, self.tenant_id, request_id)


class Session(msgspec.Struct, frozen=True):
    """What a sign-in gives. token: shown once, we keep its SHA-256."""

    token: Secret
    tenant_id: TenantId
    agent_id: AgentId
    signer: Signer
    expires_at: datetime
    newcomer: bool


class Agent(msgspec.Struct, frozen=True):
    """Who acts for a tenant. wallet_address: lower case, of the agent that a wallet's sign-in made."""

    agent_id: AgentId
    name: str
    status: str
    wallet_address: str | None
    created_at: datetime


class ApiKey(msgspec.Struct, frozen=True):
    """A named credential with fewer rights than its maker, or the same. hint: its first characters."""

    key_id: KeyId
    name: str
    hint: str
    agent_id: AgentId | None
    scopes: tuple[str, ...]
    mailbox_ids: tuple[MailboxId, ...] | None
    created_at: datetime
    expires_at: datetime | None


class KeyOrder(msgspec.Struct, frozen=True):
    """The API key that somebody asks for."""

    name: str
    scopes: tuple[str, ...]
    agent_id: AgentId | None
    mailbox_ids: tuple[MailboxId, ...] | None
    expires_at: datetime | None


class Wallet(msgspec.Struct, frozen=True):
    """A chain account bound to a tenant. address: EIP-55 checksummed."""

    address: str
    chain_id: int
    bound_at: datetime
