"""SQL of prices, admission and usage. The verbs that decide are functions of the database (migrations/sql)."""

from collections.abc import Sequence
from datetime import datetime

from asyncpg import Record

from leasebox.billing.model import Demand, PriceVersion, Released
from leasebox.billing.prices import MeterPrice
from leasebox.billing.proof import ProofId
from leasebox.identity.model import Caller
from leasebox.infra.db import Tx
from leasebox.values.ids import AuditId, EventId, TenantId
from leasebox.values.money import Usdc
from leasebox.values.paths import Route

_PUBLISHING = "SELECT pg_advisory_xact_lock(hashtextextended('price_versions', 0))"
# What the book last said, which is not what is in force where an admin has changed a price since.
_LAST_OF_BOOK = """
SELECT DISTINCT ON (meter) meter, digest FROM price_versions WHERE made_by = $1 ORDER BY meter, version DESC
"""
_ADD_PRICE = """
INSERT INTO price_versions (meter, version, free_units, span, unit_price_micros, digest, made_by, since)
SELECT $1, coalesce(max(version), 0) + 1, $2, $3, $4, $5, $6, $7 FROM price_versions WHERE meter = $1
RETURNING version
"""
_PRICE_COLUMNS = "meter, version, free_units, span, unit_price_micros, made_by, since"
_CURRENT_PRICES = f"SELECT DISTINCT ON (meter) {_PRICE_COLUMNS} FROM price_versions ORDER BY meter, version DESC"
_ALL_PRICES = f"SELECT {_PRICE_COLUMNS} FROM price_versions ORDER BY meter, version"


async def lock_prices(tx: Tx) -> None:
    """One change of prices at a time."""
    await tx.run(_PUBLISHING)


async def last_of_book(tx: Tx, made_by: str) -> dict[str, bytes]:
    """Each meter's digest when `made_by` last changed it."""
    return {row["meter"]: row["digest"] for row in await tx.all(_LAST_OF_BOOK, made_by)}


async def add_price(tx: Tx, price: MeterPrice, made_by: str, at: datetime) -> int:
    """The number of the new version."""
    version: int = await tx.value(
        _ADD_PRICE, price.meter, price.free, price.window, price.price.micros, price.digest(), made_by, at
    )
    return version


async def current_prices(tx: Tx) -> list[PriceVersion]:
    return [_price(row) for row in await tx.all(_CURRENT_PRICES)]


async def all_prices(tx: Tx) -> list[PriceVersion]:
    return [_price(row) for row in await tx.all(_ALL_PRICES)]


def _price(row: Record) -> PriceVersion:
    return PriceVersion(
        row["meter"],
        row["version"],
        row["free_units"],
        row["span"],
        Usdc(row["unit_price_micros"]),
        row["made_by"],
        row["since"],
    )


ADMITTED = """
a.outcome, a.free_quantity, a.paid_quantity, a.price_version, a.unit_price_micros, a.free_units, a.span, a.resets_at
"""
ADMIT = "admit_use($1, stand_behind($2), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) a"
"""In the FROM of a statement whose first parameters are `admission(…)`; it selects `ADMITTED`."""
ADMIT_IF = "admit_use($1, CASE WHEN {condition} THEN $2 END, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) a"
"""The same behind what says the condition, which is always true: nothing is admitted before there is something."""
_ADMIT = f"SELECT {ADMITTED} FROM admit_use($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) a"
# The same question without taking anything; what it answers may be otherwise a moment later.
_FORESEE = """
SELECT p.unit_price_micros, p.free_units, p.span, window_end(p.span, $4) AS resets_at,
       CASE WHEN p.unit_price_micros = 0 THEN $3::int
            ELSE least($3::int, greatest(p.free_units - coalesce(c.used, 0), 0)) END AS free_quantity
FROM price_versions p
LEFT JOIN allowance_counters c ON c.tenant_id = $1 AND c.meter = p.meter AND c.span = p.span
    AND c.starts_at = date_trunc(p.span, $4::timestamptz, 'UTC')
WHERE p.meter = $2 ORDER BY p.version DESC LIMIT 1
"""
_PROOF_STATE = "SELECT state FROM payment_proofs WHERE tenant_id = $1 AND id = $2"
# One statement, which may stand alone: it puts up the wall, holds, and writes a hold that was made into the audit log.
_HOLD = """
SELECT outcome, price_version, amount_micros, limit_micros, left_micros, span, resets_at,
       CASE outcome WHEN 'held' THEN record_hold($12, $10, $2, $4, $13, $14, amount_micros) END
FROM hold_funds($1, stand_behind($2), $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
_RELEASE_DUE = "SELECT tenants, released, released_micros FROM release_due($1, $2)"
_FORGET_COUNTERS = "DELETE FROM allowance_counters WHERE starts_at < $1"


async def admit(tx: Tx, caller: Caller, demand: Demand, event_id: EventId, proof_id: ProofId | None) -> Record:
    row = await tx.one(_ADMIT, *admission(caller, demand, event_id, proof_id))
    assert row is not None
    return row


def admission(caller: Caller, demand: Demand, event_id: EventId, proof_id: ProofId | None) -> tuple[object, ...]:
    """The parameters $1 to $12 of `ADMIT`."""
    return (
        event_id,
        caller.tenant_id,
        caller.agent_id,
        caller.credential_id,
        caller.actor,
        demand.route.method,
        demand.route.path,
        demand.meter,
        demand.quantity,
        proof_id,
        demand.at,
        demand.request_id,
    )


async def foresee(tx: Tx, tenant_id: TenantId, demand: Demand) -> Record:
    """How much of a call the allowance would cover now."""
    row = await tx.one(_FORESEE, tenant_id, demand.meter, demand.quantity, demand.at)
    assert row is not None
    return row


async def proof_state(tx: Tx, tenant_id: TenantId, proof_id: ProofId) -> str | None:
    state: str | None = await tx.value(_PROOF_STATE, tenant_id, proof_id)
    return state


async def hold(
    tx: Tx,
    caller: Caller,
    proof_id: ProofId,
    route: Route,
    meter: str,
    quantity: int,
    default_credit: Usdc,
    at: datetime,
    expires_at: datetime,
    request_id: str,
) -> Record:
    """Hold a price and write that down. For a transaction, or `Database.at_once`."""
    row = await tx.one(
        _HOLD,
        proof_id,
        caller.tenant_id,
        caller.credential_id,
        caller.actor,
        route.method,
        route.path,
        meter,
        quantity,
        default_credit.micros,
        at,
        expires_at,
        AuditId.new(at),
        str(proof_id),
        request_id,
    )
    assert row is not None
    return row


async def release_due(tx: Tx, at: datetime, most_tenants: int) -> Released:
    row = await tx.one(_RELEASE_DUE, at, most_tenants)
    assert row is not None
    return Released(row["tenants"], row["released"], Usdc(row["released_micros"]))


async def forget_counters(tx: Tx, before: datetime) -> int:
    return await tx.run(_FORGET_COUNTERS, before)


_EVENT_COLUMNS = """
id, tenant_id, agent_id, credential_id, method, path, meter, price_version, unit_price_micros, free_quantity,
paid_quantity, amount_micros, proof_id, request_id, occurred_at
"""
# UUIDv7 sorts by time to the millisecond, so a month is a range of ids.
_LIST_EVENTS = f"""
SELECT {_EVENT_COLUMNS} FROM usage_events
WHERE tenant_id = $1 AND id >= $2 AND id < $3 AND ($4::text IS NULL OR meter = $4) ORDER BY id DESC LIMIT $5
"""
_EVENTS_OF = f"""
SELECT {_EVENT_COLUMNS} FROM usage_events WHERE tenant_id = $1 AND id >= $2 AND id < $3 ORDER BY id
"""
_SUMS = """
SELECT meter, price_version, unit_price_micros, count(*) AS events, sum(free_quantity) AS free_quantity,
       sum(paid_quantity) AS paid_quantity, sum(amount_micros)::bigint AS amount_micros
FROM usage_events WHERE tenant_id = $1 AND id >= $2 AND id < $3
GROUP BY meter, price_version, unit_price_micros ORDER BY meter, price_version
"""
_ALLOWANCES = """
SELECT p.meter, p.free_units, p.span, coalesce(c.used, 0) AS used, window_end(p.span, $2) AS resets_at
FROM (SELECT DISTINCT ON (meter) meter, free_units, span FROM price_versions ORDER BY meter, version DESC) p
LEFT JOIN allowance_counters c ON c.tenant_id = $1 AND c.meter = p.meter AND c.span = p.span
    AND c.starts_at = date_trunc(p.span, $2::timestamptz, 'UTC')
ORDER BY p.meter
"""
# Below the horizon nothing can become visible any more, so whoever reads on from a place there misses nothing.
_LOG = f"""
SELECT {_EVENT_COLUMNS}, xid::text::bigint AS xid FROM usage_events
WHERE (xid, id) > ($1::text::xid8, $2::uuid) AND xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY xid, id LIMIT $3
"""


async def list_events(
    tx: Tx, tenant_id: TenantId, first: object, below: object, meter: str | None, limit: int
) -> list[Record]:
    """Newest first, ids from `first` to under `below`."""
    return await tx.all(_LIST_EVENTS, tenant_id, first, below, meter, limit)


async def events_of(tx: Tx, tenant_id: TenantId, first: object, below: object) -> list[Record]:
    """All of a range, in order of id."""
    return await tx.all(_EVENTS_OF, tenant_id, first, below)


async def sums(tx: Tx, tenant_id: TenantId, first: object, below: object) -> Sequence[Record]:
    return await tx.all(_SUMS, tenant_id, first, below)


async def allowances(tx: Tx, tenant_id: TenantId, at: datetime) -> Sequence[Record]:
    return await tx.all(_ALLOWANCES, tenant_id, at)


async def log(tx: Tx, xid: int, event_id: object, limit: int) -> Sequence[Record]:
    """Usage events of all tenants after a place, in the order in which they can no longer be overtaken."""
    return await tx.all(_LOG, str(xid), event_id, limit)
