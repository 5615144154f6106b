"""Who administers, and what each role may do.

| right  | what it opens                                                                  | roles                   |
|--------|--------------------------------------------------------------------------------|-------------------------|
| look   | overview, series, health, tenants, leases, prices, usage, policies, risk        | all four                |
| books  | balances, ledger, trial balance, spend caps, invoices: reading                  | owner, operator, auditor |
| audit  | the audit log: search, export, heads                                            | owner, auditor          |
| steer  | tenant status and rate, freezing and releasing, spend caps, policies, house mail | owner, operator        |
| bill   | issuing invoices                                                                | owner, operator         |
| money  | prices, grants, refunds, voiding, credit limits                                 | owner                   |

No right opens a tenant's message, a code, a password or a token: there is no route for them here. House mail is what
strangers wrote to the operator.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from leasebox.admin.errors import RoleLacksRight
from leasebox.audit.model import Act
from leasebox.values.ids import Id, TenantId
from leasebox.values.secret import Secret

ADMIN_SESSION_TTL = timedelta(hours=1)
TOKEN_PREFIX = "lba_"  # noqa: S105 - what a token begins with


class AdminSessionId(Id):
    prefix = "ads"


class Role(StrEnum):
    """What an allow-listed wallet is; the setting names it after the address, `owner` if it names none."""

    OWNER = "owner"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    VIEWER = "viewer"


class Right(StrEnum):
    """What a route needs; the module's table says what each opens."""

    LOOK = "look"
    BOOKS = "books"
    AUDIT = "audit"
    STEER = "steer"
    BILL = "bill"
    MONEY = "money"


RIGHTS: Mapping[Role, frozenset[Right]] = MappingProxyType(
    {
        Role.OWNER: frozenset(Right),
        Role.OPERATOR: frozenset({Right.LOOK, Right.BOOKS, Right.STEER, Right.BILL}),
        Role.AUDITOR: frozenset({Right.LOOK, Right.BOOKS, Right.AUDIT}),
        Role.VIEWER: frozenset({Right.LOOK}),
    }
)


def roles_with(right: Right) -> tuple[Role, ...]:
    """The roles that have a right, the mightiest first."""
    return tuple(role for role in Role if right in RIGHTS[role])


class Admin(msgspec.Struct, frozen=True):
    """A signed-in admin. wallet: lower case; role: as the settings name it at this moment."""

    wallet: str
    role: Role
    session_id: AdminSessionId
    expires_at: datetime

    @property
    def actor(self) -> str:
        """Who the audit log names: `wallet:0x…`, which no tenant's actor begins with."""
        return f"wallet:{self.wallet}"

    @property
    def tenant_id(self) -> TenantId:
        """Under whose name answers are kept for an Idempotency-Key; no tenant's, since it is made from the wallet."""
        return TenantId.of(UUID(bytes=sha256(self.actor.encode()).digest()[:16]))

    def require(self, right: Right) -> None:
        """Raises RoleLacksRight (403)."""
        if right not in RIGHTS[self.role]:
            roles = [role.value for role in roles_with(right)]
            raise RoleLacksRight(f"The role {self.role} lacks the right '{right}'.", right=right.value, roles=roles)

    def act(
        self,
        at: datetime,
        request_id: str,
        action: str,
        resource: str,
        tenant_id: TenantId | None = None,
        **detail: Any,
    ) -> Act:
        """An audit row for something this admin did."""
        return Act(at, self.actor, action, resource, tenant_id, request_id, detail=detail)


class AdminSession(msgspec.Struct, frozen=True):
    """What an admin's sign-in gives. token: shown once, we keep its SHA-256."""

    token: Secret
    admin: Admin
