"""Verbs of metering: admit a call or refuse it with the way to pay, issue proofs, give expired holds back.

The database decides in one statement, in the transaction of the work, so a call that fails costs nothing.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from asyncpg import Record

from leasebox.billing import store
from leasebox.billing.errors import InvalidPaymentProof, NotPayable, PaymentRequired
from leasebox.billing.model import Admission, Asked, Demand, IssuedProof, Reason, Released, proof_offer, unit_of
from leasebox.billing.prices import METERED_ROUTES, NEW_TENANT_CREDIT_LIMIT, Meter, meter_of
from leasebox.billing.proof import LIFETIME, Claims, ProofFault, ProofId, bound_to, sign, verify
from leasebox.identity.model import Caller
from leasebox.infra.db import Tx
from leasebox.infra.facts_log import Fact, append
from leasebox.values.clock import rfc3339
from leasebox.values.errors import LeaseboxError
from leasebox.values.facts import USAGE_DENIED
from leasebox.values.ids import EventId, MalformedId, MessageId
from leasebox.values.keys import KeyRing
from leasebox.values.money import Usdc
from leasebox.values.paths import Route, RouteFault, normalize

ADMIT, ADMIT_IF, ADMITTED = store.ADMIT, store.ADMIT_IF, store.ADMITTED
_COUNTED_UNITS = frozenset({Meter.MESSAGE_SEND})  # the others count calls
_COUNTERS_KEPT = timedelta(days=3)
_SAID = {
    "malformed": "The payment proof is no text of ours.",
    "unknown_key": "The payment proof was signed with a key that is not in use any more.",
    "bad_mac": "The payment proof was altered, or another instance signed it.",
    "not_yet_valid": "The payment proof begins later than now.",
    "expired": "The payment proof has expired; what was held is yours again.",
    "foreign_tenant": "The payment proof belongs to another tenant.",
    "wrong_method": "The payment proof is for another method.",
    "wrong_path": "The payment proof is for another path.",
    "replayed": "The payment proof was spent before.",
    "released": "The payment proof was given up; what was held is yours again.",
    "unknown": "The payment proof was never issued here.",
    "too_small": "The payment proof covers fewer units than this call takes.",
}


async def admit(tx: Tx, caller: Caller, demand: Demand, keys: KeyRing) -> Admission:
    """Let a metered call run: free while its allowance lasts, else by its proof, which is spent once and for good.

    Takes the allowance, spends the proof, moves the amount from held to revenue and records the usage event, all in
    the caller's transaction and one round trip. A proof is not looked at while the call is free: it stays unspent.
    Units that the allowance still has are free, the proof pays for the rest, and what it holds beyond that goes back.

    Raises PaymentRequired, InvalidPaymentProof (402): roll back then, as any door does.
    """
    asked = ask(caller, demand, keys)
    return judge(asked, await store.admit(tx, caller, demand, asked.event_id, asked.proof_id))


def ask(caller: Caller, demand: Demand, keys: KeyRing) -> Asked:
    """The same in two halves, for a verb whose statement admits and works in one round trip: what it sends along."""
    return Asked(caller, demand, EventId.new(demand.at), _read(caller, demand, keys))


def parameters(asked: Asked) -> tuple[object, ...]:
    """The parameters $1 to $12 of a statement with `ADMIT` in its FROM, which selects `ADMITTED`."""
    return store.admission(asked.caller, asked.demand, asked.event_id, asked.proof_id)


def judge(asked: Asked, row: Record) -> Admission:
    """And what that statement answered. Raises PaymentRequired, InvalidPaymentProof."""
    demand = asked.demand
    match row["outcome"]:
        case "free" | "paid":
            return Admission(
                asked.event_id,
                demand.meter,
                row["free_quantity"],
                row["paid_quantity"],
                row["price_version"],
                Usdc(row["unit_price_micros"]),
            )
        case "unpaid" if isinstance(asked.proof, str):
            raise _invalid(demand, asked.proof, row)
        case "unpaid":
            raise _unpaid(demand, row)
        case reason:
            raise _invalid(demand, reason, row)


async def foresee(tx: Tx, caller: Caller, demand: Demand, keys: KeyRing) -> None:
    """Refuse early what `admit` would refuse now; takes nothing. For calls that wait before they have done their work.

    Raises PaymentRequired, InvalidPaymentProof.
    """
    row = await store.foresee(tx, caller.tenant_id, demand)
    if row["free_quantity"] >= demand.quantity:
        return
    proof = _read(caller, demand, keys)
    if proof is None:
        raise _unpaid(demand, row)
    if isinstance(proof, str):
        raise _invalid(demand, proof, row)
    state = await store.proof_state(tx, caller.tenant_id, proof)
    if state != "held":
        raise _invalid(demand, {"spent": "replayed", "released": "released"}.get(state or "", "unknown"), row)


def payable(method: str, path: str, quantity: int) -> Route:
    """The metered route that somebody wants a proof for, as it stands on the wire; a query is cut off.

    Raises NotPayable (400): not a metered route, not its canonical spelling, more units than it counts, or an id in it
    that no message can have. Whether there is that message, only the call itself tells.
    """
    route = normalize(method, path)
    if isinstance(route, RouteFault):
        raise NotPayable(f"Method and path are not spelled as a route is ({route.value}).", reason=route.value)
    meter = meter_of(route)
    if meter is None:
        raise NotPayable(f"{route.method} {route.path} costs nothing.", reason="not_metered")
    if route not in METERED_ROUTES and not _names_message(route):
        raise NotPayable(f"{route.method} {route.path} names no message.", reason="message_id")
    if quantity > 1 and meter not in _COUNTED_UNITS:
        raise NotPayable(f"{route.method} {route.path} counts calls: its quantity is 1.", reason="quantity")
    return route


async def issue_proof(
    tx: Tx, caller: Caller, route: Route, quantity: int, keys: KeyRing, at: datetime, request_id: str
) -> IssuedProof:
    """Hold the price of a call on the tenant's balance, else on the month's invoice, and sign a proof of it.

    One statement: for a transaction, or `Database.at_once`.
    The hold ends with the proof, after `LIFETIME`. Raises PaymentRequired (402): neither the balance nor what may be
    owed covers it, or a spend cap would be passed.
    """
    meter, proof_id, expires_at = meter_of(route), ProofId.new(at), at + LIFETIME
    if meter is None:
        raise NotPayable(f"{route.method} {route.path} costs nothing.", reason="not_metered")
    credit = NEW_TENANT_CREDIT_LIMIT
    row = await store.hold(tx, caller, proof_id, route, meter, quantity, credit, at, expires_at, request_id)
    amount, version = Usdc(row["amount_micros"]), row["price_version"]
    if row["outcome"] != "held":
        raise _nothing_left(meter, amount, row)
    claims = Claims(
        proof_id, caller.tenant_id, route.method, route.path, meter, amount, version, at.astimezone(UTC), expires_at
    )
    return IssuedProof(proof_id, sign(claims, keys.current), route, meter, quantity, amount, version, claims.expires_at)


async def note_denial(tx: Tx, caller: Caller, demand: Demand, refusal: LeaseboxError) -> None:
    """Record that a call was refused for want of payment. For a transaction of its own: the call's is rolled back."""
    payload = {
        "meter": demand.meter.value,
        "method": demand.route.method,
        "path": demand.route.path,
        "quantity": demand.quantity,
        "error": refusal.code,
        "reason": refusal.fields.get("reason"),
        "actor": caller.actor,
        "request_id": demand.request_id,
    }
    await append(tx, [Fact(caller.tenant_id, None, None, USAGE_DENIED, payload, demand.at)])


async def release_due(tx: Tx, at: datetime, most_tenants: int) -> Released:
    """Give the expired holds of up to so many tenants back; a proof that is being spent right now is left alone.

    Each tenant's log tells its own part, written by the function that gives back, whoever calls that.
    """
    return await store.release_due(tx, at, most_tenants)


async def forget_windows(tx: Tx, at: datetime) -> int:
    """Drop the allowance counters of windows that are long over; how many."""
    return await store.forget_counters(tx, at - _COUNTERS_KEPT)


def _names_message(route: Route) -> bool:
    """Whether the id in the path of a route of METERED_TEMPLATES can be a message's."""
    try:
        MessageId.parse(route.path.split("/")[3])
    except MalformedId:
        return False
    return True


def _read(caller: Caller, demand: Demand, keys: KeyRing) -> ProofId | str | None:
    """The id of the proof sent along, why it is none for this call, or None if there is none."""
    if not demand.proof:
        return None
    claims = verify(demand.proof, keys, demand.at)
    if isinstance(claims, ProofFault):
        return claims.value
    fault = bound_to(claims, caller.tenant_id, demand.route.method, demand.route.path)
    return claims.proof_id if fault is None else fault.value


def _unpaid(demand: Demand, row: Record) -> PaymentRequired:
    due, fields = _how_to_pay(demand, row)
    helps = row["free_units"] >= demand.quantity
    fix = _asking(fields) + (f", or wait until {rfc3339(row['resets_at'])}." if helps else ".")
    return PaymentRequired(_not_free(demand, row, due), fix=fix, **fields)


def _not_free(demand: Demand, row: Record, due: Usdc) -> str:
    free, left, span, unit = row["free_units"], row["free_quantity"], row["span"], unit_of(demand.meter)
    if not free:
        return f"No {unit} of {demand.meter} is free; this costs {due} USDC."
    if not left:
        return f"The {free} free {unit}s of {demand.meter} this {span} are used up; this costs {due} USDC."
    return (
        f"This takes {demand.quantity} {unit}s of {demand.meter}; with {left} of this {span}'s {free} free ones left, "
        f"the rest costs {due} USDC."
    )


def _asking(fields: dict[str, Any]) -> str:
    """How to get the proof that `accepts` asks for, without a full stop."""
    body = msgspec.json.encode(fields["accepts"][0]["request"]["body"]).decode()
    return f"Send {body} to POST /v2/payments/proof and its answer as x-payment-proof"


def _invalid(demand: Demand, reason: str, row: Record) -> InvalidPaymentProof:
    fields = _how_to_pay(demand, row)[1]
    if reason == "too_small":
        fields["fix"] = f"{_asking(fields)}; what the smaller one holds is yours again once it expires."
    return InvalidPaymentProof(_SAID[reason], reason=reason, **fields)


def _how_to_pay(demand: Demand, row: Record) -> tuple[Usdc, dict[str, Any]]:
    units = demand.quantity - row["free_quantity"]
    due = Usdc(row["unit_price_micros"]) * units
    reason = Reason("allowance_used", row["free_units"], row["span"], row["resets_at"])
    return due, {
        "meter": demand.meter.value,
        "amount_usdc": str(due),
        "reasons": [reason],
        "accepts": proof_offer(demand.route, units, due),
    }


def _nothing_left(meter: Meter, amount: Usdc, row: Record) -> PaymentRequired:
    limit, left = str(Usdc(row["limit_micros"])), str(Usdc(row["left_micros"]))
    said: dict[str, Any] = {"meter": meter.value, "amount_usdc": str(amount), "accepts": []}
    if row["outcome"] == "spend_cap":
        reason = Reason("spend_cap", limit, row["span"], row["resets_at"], left)
        return PaymentRequired(
            f"The spend cap of {limit} USDC a {row['span']} leaves {left}; this costs {amount}.",
            fix="Wait until the cap's window resets, or sign in with the tenant's wallet and raise it.",
            reasons=[reason],
            **said,
        )
    reason = Reason("credit_limit", limit, "invoice", None, left)
    return PaymentRequired(
        f"Neither the balance nor what may be owed ({limit} USDC in all) covers {amount} USDC.",
        fix="Ask the operator of this instance to add balance or raise the limit; GET /v2/billing/balance shows both.",
        reasons=[reason],
        **said,
    )
