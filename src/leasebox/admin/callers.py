"""From a bearer token to an Admin. Nothing is remembered between calls, so what is revoked is refused at once."""

import re
from collections.abc import Mapping

from leasebox.admin import store
from leasebox.admin.errors import AdminClosed, NotAnAdmin
from leasebox.admin.model import TOKEN_PREFIX, Admin, AdminSessionId, Role
from leasebox.infra.db import Database
from leasebox.values.clock import Clock
from leasebox.values.errors import Unauthorized
from leasebox.values.secret import Secret, fingerprint

_TOKEN = re.compile(re.escape(TOKEN_PREFIX) + r"[A-Za-z0-9_-]{43}")
_SIGN_IN = "Sign in with POST /v2/admin/auth/challenge and /verify, then send 'Authorization: Bearer <access_token>'."


class Admins:
    """The allow-list and the sessions of those on it. roles: by lower-case wallet, as the settings say."""

    def __init__(self, db: Database, clock: Clock, roles: Mapping[str, Role]) -> None:
        self._db = db
        self._clock = clock
        self._roles = dict(roles)

    def require_open(self) -> None:
        """Raises AdminClosed (403) where no wallet is configured."""
        if not self._roles:
            raise AdminClosed("No admin is configured here.")

    def role_of(self, wallet: str) -> Role:
        """Raises NotAnAdmin (403)."""
        role = self._roles.get(wallet.lower())
        if role is None:
            raise NotAnAdmin("This wallet administers nothing here.")
        return role

    async def resolve(self, authorization: str | None) -> Admin:
        """Who sends this Authorization header. Raises Unauthorized (401), also once the wallet has left the list."""
        scheme, _, text = (authorization or "").partition(" ")
        token = text.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("No bearer token was sent.", fix=_SIGN_IN)
        if not _TOKEN.fullmatch(token):
            raise Unauthorized("This is no admin's token.", fix=_SIGN_IN)
        key, now = fingerprint(Secret(token)), self._clock.now()
        row = await self._db.read(lambda tx: store.find(tx, key, now))
        role = None if row is None else self._roles.get(row["wallet_address"])
        if row is None or role is None:
            raise Unauthorized("The admin's session is unknown, expired or revoked.", fix=_SIGN_IN)
        return Admin(row["wallet_address"], role, AdminSessionId.of(row["id"]), row["expires_at"])
