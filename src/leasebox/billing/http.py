"""Routes of paying: proofs, prices, balance, ledger, spend caps."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, get, post, put
from litestar.params import JSONBody

from leasebox.billing import caps, ledger, price_list, service, usage
from leasebox.billing.model import MOST_UNITS, CapSpan, IssuedProof, PriceVersion, SpendCap, Transfer, unit_of
from leasebox.billing.prices import metered_routes
from leasebox.identity.model import Caller
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.idempotency import IdempotencyKey, Once
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, known_id, needs, request_id
from leasebox.values.clock import Clock
from leasebox.values.ids import KeyId
from leasebox.values.keys import KeyRing
from leasebox.values.money import Usdc

UsdcText = Annotated[
    str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,6})?$", description="USDC, such as 0.050000.")
]


class ProofRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The call to be paid for. quantity: how many recipients, for routes that send a message; 1 for all others."""

    method: Annotated[str, msgspec.Meta(min_length=1, max_length=16)]
    path: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MOST_UNITS)] = 1


class ProofView(msgspec.Struct):
    """x_payment_proof: send it as the header of that name, once, before expires_at; amount_usdc is held until then."""

    x_payment_proof: str
    proof_id: str
    method: str
    path: str
    meter: str
    quantity: int
    amount_usdc: str
    price_version: int
    expires_at: datetime


class RouteView(msgspec.Struct):
    method: str
    path: str


class AllowanceView(msgspec.Struct):
    """What is free in the window that runs now."""

    limit: int
    used: int
    window: str
    resets_at: datetime


class PriceView(msgspec.Struct):
    """A meter, its price beyond the allowance, and the routes it stands on. unit: `call` or `recipient`."""

    meter: str
    unit: str
    price_usdc: str
    price_version: int
    since: datetime
    allowance: AllowanceView
    routes: list[RouteView]


class VersionView(msgspec.Struct):
    """One version of a meter's price; it explains every amount that was charged by it."""

    meter: str
    price_version: int
    price_usdc: str
    free: int
    window: str
    since: datetime


class CapView(msgspec.Struct):
    """api_key_id: null for the whole tenant. used_usdc: held or charged in the window that ends at resets_at; what is
    refunded later still counts."""

    api_key_id: str | None
    window: CapSpan
    limit_usdc: str
    used_usdc: str
    resets_at: datetime


class BalanceView(msgspec.Struct):
    """balance_usdc: free to use. held_usdc: set aside for unspent proofs. owed_usdc: on invoices, holds included."""

    balance_usdc: str
    held_usdc: str
    owed_usdc: str
    credit_limit_usdc: str
    credit_left_usdc: str


class TransferView(msgspec.Struct):
    """A balanced pair: amount_usdc from the debit to the credit side. kind: as the ledger's docs list them."""

    transfer_id: str
    kind: str
    amount_usdc: str
    debit: str
    credit: str
    at: datetime
    proof_id: str | None
    event_id: str | None
    reverses: str | None
    note: str


class CapRequest(msgspec.Struct, forbid_unknown_fields=True):
    """limit_usdc: null takes the cap away. api_key_id: leave it out to cap the whole tenant."""

    window: CapSpan
    limit_usdc: UsdcText | None
    api_key_id: str | None = None


class PaymentRoutes(Controller):
    """Paying for metered calls beyond the free ones."""

    path = "/v2/payments"
    tags = ["Paying"]

    db: Database
    clock: Clock
    keys: KeyRing
    once: Once

    @post("/proof", status_code=200, operation_id="issue_proof", **needs("billing:pay", 402, 409))
    async def issue(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        data: JSONBody[ProofRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[ProofView]:
        """Hold the price of one call and get the proof that pays for it."""
        route, trace = service.payable(data.method, data.path, data.quantity), request_id(request)

        async def work(tx: Tx) -> ProofView:
            now = self.clock.now()
            return _proof_view(await service.issue_proof(tx, caller, route, data.quantity, self.keys, now, trace))

        return await self.once.answer(request, caller, idempotency_key, 200, work, work)


class BillingRoutes(Controller):
    """What things cost, and what you have."""

    path = "/v2/billing"
    tags = ["Paying"]

    db: Database
    clock: Clock

    @get("/prices", operation_id="list_prices", **needs("billing:read"))
    async def prices(self, caller: Given[Caller]) -> Page[PriceView]:
        """Every meter with its price, its routes and what is left free."""
        now = self.clock.now()

        async def body(tx: Tx) -> list[PriceView]:
            left = {each.meter: each for each in await usage.allowances(tx, caller.tenant_id, now)}
            return [_price_view(price, left[price.meter]) for price in await price_list.current(tx)]

        return Page(await self.db.read(body), None)

    @get("/prices/versions", operation_id="list_price_versions", **needs("billing:read"))
    async def price_versions(self, caller: Given[Caller]) -> Page[VersionView]:
        """All prices there ever were, by meter and version."""
        del caller
        return Page([_version_view(each) for each in await self.db.read(price_list.history)], None)

    @get("/balance", operation_id="get_balance", **needs("billing:read"))
    async def balance(self, caller: Given[Caller]) -> BalanceView:
        """What you have, what is held, what you owe, and how much you may owe."""
        now = self.clock.now()
        funds = await self.db.read(lambda tx: ledger.funds(tx, caller.tenant_id, now))
        return BalanceView(
            balance_usdc=str(funds.balance),
            held_usdc=str(funds.held),
            owed_usdc=str(funds.owed),
            credit_limit_usdc=str(funds.credit_limit),
            credit_left_usdc=str(funds.credit_left),
        )

    @get("/ledger", operation_id="list_transfers", **needs("billing:read"))
    async def transfers(
        self, caller: Given[Caller], limit: Limit = 20, cursor: CursorText = None
    ) -> Page[TransferView]:
        """Every movement of your money, newest first."""
        below = after(cursor)
        rows = await self.db.read(lambda tx: ledger.transfers(tx, caller.tenant_id, below, limit + 1))
        return page(rows, limit, _transfer_view, lambda transfer: transfer.transfer_id)

    @get("/caps", operation_id="list_spend_caps", **needs("billing:read"))
    async def spend_caps(self, caller: Given[Caller]) -> Page[CapView]:
        """What you may spend in a day or a month, as a tenant and by API key."""
        now = self.clock.now()
        standing = await self.db.read(lambda tx: caps.caps_of(tx, caller.tenant_id, now))
        return Page([_cap_view(cap) for cap in standing], None)

    @put("/caps", operation_id="set_spend_cap", **needs("keys:write", 404, 422))
    async def set_spend_cap(
        self, request: Request[Any, Any, Any], caller: Given[Caller], data: JSONBody[CapRequest]
    ) -> Page[CapView]:
        """Set, change or take away a cap; for a session of the tenant's wallet. Gives all caps as they stand then."""
        now, trace = self.clock.now(), request_id(request)
        key_id = None if data.api_key_id is None else known_id(KeyId, data.api_key_id)
        limit = None if data.limit_usdc is None else Usdc.parse(data.limit_usdc)

        async def body(tx: Tx) -> list[SpendCap]:
            await caps.set_cap(tx, caller, key_id, data.window, limit, now, trace)
            return await caps.caps_of(tx, caller.tenant_id, now)

        return Page([_cap_view(cap) for cap in await self.db.transact(body)], None)


def _proof_view(proof: IssuedProof) -> ProofView:
    return ProofView(
        x_payment_proof=proof.text.reveal(),
        proof_id=str(proof.proof_id),
        method=proof.route.method,
        path=proof.route.path,
        meter=proof.meter.value,
        quantity=proof.quantity,
        amount_usdc=str(proof.amount),
        price_version=proof.price_version,
        expires_at=proof.expires_at,
    )


def _price_view(price: PriceVersion, allowance: usage.Allowance) -> PriceView:
    return PriceView(
        meter=price.meter,
        unit=unit_of(price.meter),
        price_usdc=str(price.unit_price),
        price_version=price.version,
        since=price.since,
        allowance=AllowanceView(allowance.limit, allowance.used, allowance.span, allowance.resets_at),
        routes=[RouteView(route.method, route.path) for route in metered_routes(price.meter)],
    )


def _version_view(price: PriceVersion) -> VersionView:
    return VersionView(price.meter, price.version, str(price.unit_price), price.free_units, price.span, price.since)


def _cap_view(cap: SpendCap) -> CapView:
    key = None if cap.api_key_id is None else str(cap.api_key_id)
    return CapView(key, cap.span, str(cap.limit), str(cap.used), cap.resets_at)


def _transfer_view(transfer: Transfer) -> TransferView:
    return TransferView(
        transfer_id=str(transfer.transfer_id),
        kind=transfer.kind,
        amount_usdc=str(transfer.amount),
        debit=transfer.debit,
        credit=transfer.credit,
        at=transfer.at,
        proof_id=None if transfer.proof_id is None else str(transfer.proof_id),
        event_id=None if transfer.event_id is None else str(transfer.event_id),
        reverses=None if transfer.reverses is None else str(transfer.reverses),
        note=transfer.note,
    )
