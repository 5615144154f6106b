"""From a bearer token to a Caller. Each process remembers an answer for less than a second, so a revoked token stops
everywhere within one (contract §2)."""

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Any

from leasebox.identity import store, tokens
from leasebox.identity.errors import TenantInactive
from leasebox.identity.model import Caller
from leasebox.infra.db import Database
from leasebox.values.clock import Clock
from leasebox.values.errors import Unauthorized
from leasebox.values.ids import AgentId, KeyId, MailboxId, SessionId, TenantId
from leasebox.values.secret import Secret, fingerprint

_FRESH = timedelta(milliseconds=750)
_REMEMBERED = 10_000


class Callers:
    """Looks bearer tokens up by their SHA-256, so no comparison leaks how much of a guess was right."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._seen: OrderedDict[bytes, tuple[datetime, Caller]] = OrderedDict()

    async def resolve(self, authorization: str | None) -> Caller:
        """Who sends this Authorization header. Raises Unauthorized (401), TenantInactive (403), Unavailable."""
        scheme, _, text = (authorization or "").partition(" ")
        token = text.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("No bearer token was sent.")
        if not tokens.plausible(token):
            raise Unauthorized("The bearer token is malformed.", fix="Send the token exactly as it was issued.")
        caller = await self._recall(token)
        if caller.expires_at is not None and caller.expires_at <= self._clock.now():
            raise Unauthorized("The credential has expired.", fix="Sign in again, or use a key that has not expired.")
        if caller.tenant_status != "active":
            raise TenantInactive(f"This tenant is {caller.tenant_status}.")
        return caller

    def forget(self, token_hash: bytes) -> None:
        """Stop believing a token at once in this process."""
        self._seen.pop(token_hash, None)

    def forget_credential(self, credential_id: SessionId | KeyId) -> None:
        """The same, by id: for sign-out, where the token's hash is not at hand."""
        for key in [key for key, (_, caller) in self._seen.items() if caller.credential_id == credential_id]:
            del self._seen[key]

    async def _recall(self, token: str) -> Caller:
        key, now = fingerprint(Secret(token)), self._clock.now()
        seen = self._seen.get(key)
        if seen is not None and now - seen[0] < _FRESH and seen[0] <= now:
            return seen[1]
        kind, find = (SessionId, store.find_session) if tokens.is_session(token) else (KeyId, store.find_key)
        row = await self._db.read(lambda tx: find(tx, key))
        if row is None or row["agent_status"] != "active":
            self._seen.pop(key, None)
            raise Unauthorized("The bearer token is unknown, expired or revoked.")
        if row["awaited"]:
            await self._db.transact(lambda tx: store.use_key(tx, key))
        caller = _caller(row, kind)
        self._seen[key] = (now, caller)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return caller


def _caller(row: Any, kind: type[SessionId] | type[KeyId]) -> Caller:
    mailboxes = row["mailbox_ids"]
    return Caller(
        TenantId.of(row["tenant_id"]),
        None if row["agent_id"] is None else AgentId.of(row["agent_id"]),
        kind.of(row["id"]),
        frozenset(row["scopes"]),
        None if mailboxes is None else frozenset(MailboxId.of(each) for each in mailboxes),
        row["wallet_address"],
        row["chain_id"],
        row["expires_at"],
        row["tenant_status"],
    )
