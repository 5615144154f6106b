"""Rates in force: as the settings say, or as an admin has put in their place, for everybody or for one tenant."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal, get_args

import msgspec

from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.identity import oversight_store
from leasebox.infra.db import Database, Tx
from leasebox.values.clock import Clock
from leasebox.values.errors import NotFound, Unavailable
from leasebox.values.ids import TenantId
from leasebox.values.rate import Rate

RateName = Literal["signin", "tenant", "claim", "api"]
RATE_NAMES: tuple[RateName, ...] = get_args(RateName)
_FRESH = timedelta(milliseconds=750)


class Override(msgspec.Struct, frozen=True):
    """A rate that an admin set. tenant_id None: for everybody."""

    name: str
    tenant_id: TenantId | None
    rate: Rate
    made_by: str
    at: datetime


class Rates:
    """What each process limits by. An admin's change is felt within a second; nobody waits for it.

    configured: the settings' rates. While the database does not answer, what was known last holds on.
    """

    def __init__(self, db: Database, clock: Clock, configured: Mapping[RateName, Rate]) -> None:
        self._db = db
        self._clock = clock
        self._configured = dict(configured)
        self._overrides: dict[tuple[str, TenantId | None], Rate] = {}
        self._looked_at: datetime | None = None

    async def of(self, name: RateName, tenant_id: TenantId | None = None) -> Rate:
        """The rate of a limit now: the tenant's own, else everybody's, else the configured one."""
        await self._refresh()
        found = self._overrides.get((name, tenant_id)) or self._overrides.get((name, None))
        return self._configured[name] if found is None else found

    def live(self, name: RateName) -> "LiveRate":
        """A limit whose rate is looked up at each call."""
        return LiveRate(self, name)

    def configured(self, name: RateName) -> Rate:
        """What the settings say."""
        return self._configured[name]

    async def _refresh(self) -> None:
        now = self._clock.now()
        if self._looked_at is not None and timedelta() <= now - self._looked_at < _FRESH:
            return
        # Set first: whoever comes while the answer is under way goes by what is known.
        self._looked_at = now
        try:
            overrides = await self._db.read(list_overrides)
        except Unavailable:
            return
        self._overrides = {(each.name, each.tenant_id): each.rate for each in overrides}


class LiveRate:
    """One instance-wide rate, for whoever takes from a bucket (infra/web/limits.py)."""

    def __init__(self, rates: Rates, name: RateName) -> None:
        self._rates = rates
        self._name: RateName = name

    async def __call__(self) -> Rate:
        return await self._rates.of(self._name)


async def list_overrides(tx: Tx) -> list[Override]:
    """All rates that admins have set."""
    return [
        Override(
            row["name"],
            None if row["tenant_id"] is None else TenantId.of(row["tenant_id"]),
            Rate(row["count"], row["seconds"]),
            row["made_by"],
            row["at"],
        )
        for row in await oversight_store.list_rates(tx)
    ]


async def set_rate(
    tx: Tx,
    name: RateName,
    tenant_id: TenantId | None,
    rate: Rate | None,
    *,
    actor: str,
    at: datetime,
    request_id: str,
) -> None:
    """Put a rate in force, for everybody or one tenant; None: back to the configured one. Raises NotFound (tenant)."""
    await oversight_store.lock_rates(tx)
    if tenant_id is not None and await oversight_store.lock_tenant(tx, tenant_id) is None:
        raise NotFound("No such tenant.")
    before = next(
        (each.rate for each in await list_overrides(tx) if (each.name, each.tenant_id) == (name, tenant_id)), None
    )
    if before == rate:
        return
    if rate is None:
        await oversight_store.drop_rate(tx, name, tenant_id)
    else:
        await oversight_store.put_rate(tx, name, tenant_id, rate, actor, at)
    detail = {"before": _shown(before), "after": _shown(rate)}
    await record(tx, Act(at, actor, "rate.set", name, tenant_id, request_id, detail=detail))


def _shown(rate: Rate | None) -> dict[str, int] | None:
    return None if rate is None else {"count": rate.count, "seconds": rate.seconds}
