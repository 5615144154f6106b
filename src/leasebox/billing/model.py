"""Frozen words of billing: what a door asks, what it is told, and how to pay."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from leasebox.billing.prices import Meter, meter_of
from leasebox.billing.proof import ProofId
from leasebox.identity.model import Caller
from leasebox.values.ids import EventId, Id, KeyId, TenantId
from leasebox.values.money import Usdc
from leasebox.values.paths import Route
from leasebox.values.secret import Secret

MOST_UNITS = 100  # of one call and one proof
PROOF_ROUTE = Route("POST", "/v2/payments/proof")
PROOF_HEADER = "x-payment-proof"
CapSpan = Literal["day", "month"]


class TransferId(Id):
    prefix = "trf"


class Demand(msgspec.Struct, frozen=True):
    """One metered call as its door hears it. quantity: units of the route's meter; proof: what its header says."""

    route: Route
    quantity: int
    proof: str | None
    at: datetime
    request_id: str

    @property
    def meter(self) -> Meter:
        """What the route counts."""
        meter = meter_of(self.route)
        if meter is None:
            raise ValueError("a route that costs nothing is not demanded")
        return meter


class Asked(msgspec.Struct, frozen=True):
    """A demand about to be decided. proof: its id, why it is none for this call, or None where none was sent."""

    caller: Caller
    demand: Demand
    event_id: EventId
    proof: ProofId | str | None

    @property
    def proof_id(self) -> ProofId | None:
        """The proof to be spent if the call is not free."""
        return self.proof if isinstance(self.proof, ProofId) else None


class Admission(msgspec.Struct, frozen=True):
    """That a call may run, and what it costs if it succeeds. Its usage event commits with the work."""

    event_id: EventId
    meter: Meter
    free_quantity: int
    paid_quantity: int
    price_version: int
    unit_price: Usdc

    @property
    def amount(self) -> Usdc:
        """Unit price × paid quantity, exactly."""
        return self.unit_price * self.paid_quantity

    @property
    def charged(self) -> dict[str, Any]:
        """What the audit row of the call says of money: nothing where it was free."""
        return {"amount_usdc": str(self.amount), "price_version": self.price_version} if self.amount else {}


class PriceVersion(msgspec.Struct, frozen=True):
    """A version of a meter's price and allowance, in force from `since` until the next. made_by: `book` or an admin."""

    meter: str
    version: int
    free_units: int
    span: str
    unit_price: Usdc
    made_by: str
    since: datetime


class IssuedProof(msgspec.Struct, frozen=True):
    """A proof whose amount is held. text: good once, so it is a secret."""

    proof_id: ProofId
    text: Secret
    route: Route
    meter: Meter
    quantity: int
    amount: Usdc
    price_version: int
    expires_at: datetime


class Funds(msgspec.Struct, frozen=True):
    """What a tenant has. A hold that has expired counts as given back, whether or not a job has done so.

    balance: paid in advance and free to use. held: set aside for unspent proofs. owed: on invoices, holds included.
    credit_limit: how much may be owed.
    """

    balance: Usdc
    held: Usdc
    owed: Usdc
    credit_limit: Usdc

    @property
    def credit_left(self) -> Usdc:
        """How much more may be owed."""
        return max(self.credit_limit - self.owed, Usdc(0))


class Transfer(msgspec.Struct, frozen=True):
    """A balanced ledger pair: `amount` from the debit side to the credit side. Never changed, only reversed."""

    transfer_id: TransferId
    kind: str
    debit: str
    credit: str
    amount: Usdc
    at: datetime
    proof_id: ProofId | None
    event_id: EventId | None
    reverses: TransferId | None
    note: str


class TrialLine(msgspec.Struct, frozen=True):
    """All entries of one ledger account, over all tenants."""

    ledger_account: str
    debited: Usdc
    credited: Usdc


class SpendCap(msgspec.Struct, frozen=True):
    """At most `limit` is spent in a UTC day or month. api_key_id None: by the whole tenant. used: in this window."""

    api_key_id: KeyId | None
    span: CapSpan
    limit: Usdc
    used: Usdc
    resets_at: datetime


class Released(msgspec.Struct, frozen=True):
    """Expired holds that were given back, and of how many tenants."""

    tenants: int
    holds: int
    amount: Usdc


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a call is not free, or why nothing can be held for it. window: `hour`, `day`, `month` or `invoice`."""

    code: str
    limit: int | str
    window: str
    resets_at: datetime | None = None
    left: int | str | None = None


def proof_offer(route: Route, quantity: int, amount: Usdc) -> list[dict[str, Any]]:
    """`accepts` of a 402: how this call can be paid."""
    body: dict[str, Any] = {"method": route.method, "path": route.path}
    if quantity > 1:
        body["quantity"] = quantity
    return [
        {
            "scheme": "hmac",
            "amount_usdc": str(amount),
            "header": PROOF_HEADER,
            "request": {"method": PROOF_ROUTE.method, "path": PROOF_ROUTE.path, "body": body},
        }
    ]


def unit_of(meter: str) -> str:
    """What one unit of a meter is."""
    return "recipient" if meter == Meter.MESSAGE_SEND else "call"


def tenant_scope(tenant_id: TenantId, api_key_id: KeyId | None) -> Id:
    """Whom a spend cap is for: one key, or the tenant as a whole."""
    return tenant_id if api_key_id is None else api_key_id
