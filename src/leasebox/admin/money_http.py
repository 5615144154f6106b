"""Routes of money: a tenant's balance, ledger, grants, reversals, limits and caps; prices; the books as a whole."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Request, Response, get, post, put
from litestar.params import FromPath, JSONBody

from leasebox.admin import views_store
from leasebox.admin.door_http import TAGS, admits
from leasebox.admin.model import Admin, Right
from leasebox.billing import caps, invoices, ledger, price_list
from leasebox.billing.http import BalanceView, UsdcText
from leasebox.billing.model import CapSpan, PriceVersion, SpendCap, Transfer, TransferId
from leasebox.billing.prices import MOST_FREE_UNITS, MOST_UNIT_PRICE, Meter, MeterPrice, Window
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.idempotency import IdempotencyKey, Once
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, known_id, request_id
from leasebox.values.clock import Clock
from leasebox.values.errors import NotFound, Unprocessable
from leasebox.values.ids import TenantId
from leasebox.values.money import Usdc

MOST_GRANT = Usdc.parse("1000000")
Note = Annotated[str, msgspec.Meta(max_length=500, description="Why; the tenant reads it in its ledger.")]


class GrantRequest(msgspec.Struct, forbid_unknown_fields=True):
    """amount_usdc: more than nothing, at most 1000000."""

    amount_usdc: UsdcText
    note: Note = ""


class ReversalRequest(msgspec.Struct, forbid_unknown_fields=True):
    """transfer_id: a charge (spend), a grant, a deposit or a settlement of this tenant."""

    transfer_id: str
    note: Note = ""


class CreditLimitPut(msgspec.Struct, forbid_unknown_fields=True):
    """credit_limit_usdc: null for the default, which is nothing for a tenant without a wallet."""

    credit_limit_usdc: UsdcText | None


class TenantCapPut(msgspec.Struct, forbid_unknown_fields=True):
    """limit_usdc: null takes the cap away."""

    window: CapSpan
    limit_usdc: UsdcText | None


class PricePut(msgspec.Struct, forbid_unknown_fields=True):
    """if_version: the version that you saw; another one in force by now is a 409."""

    free: Annotated[int, msgspec.Meta(ge=0, le=MOST_FREE_UNITS)]
    window: Literal["hour", "day"]
    price_usdc: UsdcText
    if_version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None
    note: Annotated[str, msgspec.Meta(max_length=500)] = ""


class AdminPriceView(msgspec.Struct):
    """made_by: `book` for the operator's file, else the admin."""

    meter: str
    price_version: int
    price_usdc: str
    free: int
    window: str
    made_by: str
    since: datetime


class AdminTransferView(msgspec.Struct):
    transfer_id: str
    tenant_id: str
    kind: str
    amount_usdc: str
    debit: str
    credit: str
    at: datetime
    proof_id: str | None
    event_id: str | None
    reverses: str | None
    note: str


class MovedView(msgspec.Struct):
    """The transfer that was made, and what the tenant has then."""

    transfer_id: str
    balance: BalanceView


class TenantCapView(msgspec.Struct):
    """api_key_id: null for the whole tenant. used_usdc: a refund does not lower it."""

    api_key_id: str | None
    window: str
    limit_usdc: str
    used_usdc: str
    resets_at: datetime


class TrialLineView(msgspec.Struct):
    ledger_account: str
    debited_usdc: str
    credited_usdc: str


class DiscrepancyView(msgspec.Struct):
    tenant_id: str
    rule: str
    difference_usdc: str


class TrialBalanceView(msgspec.Struct):
    """Debits equal credits, and discrepancies is empty, or something is broken."""

    lines: list[TrialLineView]
    debited_usdc: str
    credited_usdc: str
    discrepancies: list[DiscrepancyView]


class AdminMoneyRoutes(Controller):
    """A tenant's money."""

    path = "/v2/admin/tenants/{tenant_id:str}"
    tags = TAGS

    db: Database
    clock: Clock
    once: Once

    @get("/balance", operation_id="admin_get_balance", **admits(Right.BOOKS, 404))
    async def balance(self, tenant_id: FromPath[str]) -> BalanceView:
        """What the tenant has, owes and may owe."""
        return await self.db.read(lambda tx: self._balance(tx, known_id(TenantId, tenant_id)))

    @get("/ledger", operation_id="admin_list_transfers", **admits(Right.BOOKS, 404))
    async def transfers(
        self, tenant_id: FromPath[str], limit: Limit = 20, cursor: CursorText = None
    ) -> Page[AdminTransferView]:
        """Every movement of the tenant's money, newest first."""
        wanted, below = known_id(TenantId, tenant_id), after(cursor)

        async def body(tx: Tx) -> list[Transfer]:
            await _require_tenant(tx, wanted)
            return await ledger.transfers(tx, wanted, below, limit + 1)

        rows = await self.db.read(body)
        return page(rows, limit, lambda each: _transfer_view(wanted, each), lambda each: each.transfer_id)

    @post("/grants", status_code=201, operation_id="admin_grant", **admits(Right.MONEY, 404, 409, 422))
    async def grant(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        tenant_id: FromPath[str],
        data: JSONBody[GrantRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[MovedView]:
        """Give the tenant promotional balance."""
        wanted, trace = known_id(TenantId, tenant_id), request_id(request)
        amount = _at_most(Usdc.parse(data.amount_usdc), MOST_GRANT)

        async def work(tx: Tx) -> MovedView:
            now = self.clock.now()
            made = await ledger.grant(tx, wanted, amount, data.note, actor=admin.actor, at=now, request_id=trace)
            return MovedView(str(made), await self._balance(tx, wanted))

        return await self.once.answer(request, admin, idempotency_key, 201, work)

    @post("/reversals", status_code=201, operation_id="admin_reverse", **admits(Right.MONEY, 404, 409, 422))
    async def reverse(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        tenant_id: FromPath[str],
        data: JSONBody[ReversalRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[MovedView]:
        """Take a transfer back by one that points at it; the first one stays as it is.

        A charge, a grant or a deposit; a settlement, whose invoice is due again then.
        """
        wanted, trace = known_id(TenantId, tenant_id), request_id(request)
        wrong = known_id(TransferId, data.transfer_id)

        async def work(tx: Tx) -> MovedView:
            now = self.clock.now()
            made = await ledger.reverse(tx, wanted, wrong, data.note, actor=admin.actor, at=now, request_id=trace)
            return MovedView(str(made), await self._balance(tx, wanted))

        return await self.once.answer(request, admin, idempotency_key, 201, work)

    @put("/credit-limit", operation_id="admin_set_credit_limit", **admits(Right.MONEY, 404))
    async def credit_limit(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        tenant_id: FromPath[str],
        data: JSONBody[CreditLimitPut],
    ) -> BalanceView:
        """How much the tenant may owe."""
        wanted, now, trace = known_id(TenantId, tenant_id), self.clock.now(), request_id(request)
        limit = None if data.credit_limit_usdc is None else Usdc.parse(data.credit_limit_usdc)

        async def work(tx: Tx) -> BalanceView:
            await ledger.set_credit_limit(tx, wanted, limit, actor=admin.actor, at=now, request_id=trace)
            return await self._balance(tx, wanted)

        return await self.db.transact(work)

    @get("/caps", operation_id="admin_list_spend_caps", **admits(Right.BOOKS, 404))
    async def list_caps(self, tenant_id: FromPath[str]) -> Page[TenantCapView]:
        """What the tenant, and each of its keys, may spend in a day or a month."""
        wanted, now = known_id(TenantId, tenant_id), self.clock.now()

        async def body(tx: Tx) -> list[SpendCap]:
            await _require_tenant(tx, wanted)
            return await caps.caps_of(tx, wanted, now)

        return Page([_cap_view(cap) for cap in await self.db.read(body)], None)

    @put("/caps", operation_id="admin_set_spend_cap", **admits(Right.STEER, 404))
    async def set_cap(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        tenant_id: FromPath[str],
        data: JSONBody[TenantCapPut],
    ) -> Page[TenantCapView]:
        """Set or take away the tenant's own cap. Its wallet may change it too: to bind a tenant, lower its limit."""
        wanted, now, trace = known_id(TenantId, tenant_id), self.clock.now(), request_id(request)
        limit = None if data.limit_usdc is None else Usdc.parse(data.limit_usdc)

        async def work(tx: Tx) -> list[SpendCap]:
            await caps.impose_cap(tx, wanted, data.window, limit, actor=admin.actor, at=now, request_id=trace)
            return await caps.caps_of(tx, wanted, now)

        return Page([_cap_view(cap) for cap in await self.db.transact(work)], None)

    async def _balance(self, tx: Tx, tenant_id: TenantId) -> BalanceView:
        await _require_tenant(tx, tenant_id)
        funds = await ledger.funds(tx, tenant_id, self.clock.now())
        return BalanceView(
            balance_usdc=str(funds.balance),
            held_usdc=str(funds.held),
            owed_usdc=str(funds.owed),
            credit_limit_usdc=str(funds.credit_limit),
            credit_left_usdc=str(funds.credit_left),
        )


class AdminPriceRoutes(Controller):
    """Prices, and the books as a whole."""

    path = "/v2/admin/billing"
    tags = TAGS

    db: Database
    clock: Clock

    @get("/prices", operation_id="admin_list_prices", **admits(Right.LOOK))
    async def prices(self) -> Page[AdminPriceView]:
        """All prices there ever were, by meter and version; the last of each meter is in force."""
        return Page([_price_view(each) for each in await self.db.read(price_list.history)], None)

    @put("/prices/{meter:str}", operation_id="admin_change_price", **admits(Right.MONEY, 404, 409, 422))
    async def change_price(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        meter: FromPath[str],
        data: JSONBody[PricePut],
    ) -> AdminPriceView:
        """Put a price in force as a new version. Quotes from now on use it; proofs made before keep theirs."""
        if meter not in set(Meter):
            raise NotFound("There is no such meter.", fix=f"Use one of {', '.join(Meter)}.")
        amount = _at_most(Usdc.parse(data.price_usdc), MOST_UNIT_PRICE)
        price = MeterPrice(Meter(meter), data.free, Window(data.window), amount)
        now, trace = self.clock.now(), request_id(request)
        return _price_view(
            await self.db.transact(
                lambda tx: price_list.change(
                    tx, price, data.if_version, data.note, actor=admin.actor, at=now, request_id=trace
                )
            )
        )

    @get("/trial-balance", operation_id="admin_trial_balance", **admits(Right.BOOKS))
    async def trial_balance(self) -> TrialBalanceView:
        """Debits and credits of each ledger account, and where the books disagree with anything else."""
        lines = await self.db.read(ledger.trial_balance)
        wrong = [*await self.db.read(ledger.discrepancies), *await self.db.read(invoices.discrepancies)]
        return TrialBalanceView(
            [TrialLineView(each.ledger_account, str(each.debited), str(each.credited)) for each in lines],
            str(Usdc.total(each.debited for each in lines)),
            str(Usdc.total(each.credited for each in lines)),
            [
                DiscrepancyView(str(TenantId.of(row["tenant_id"])), row["rule"], str(Usdc(row["difference_micros"])))
                for row in wrong
            ],
        )


async def _require_tenant(tx: Tx, tenant_id: TenantId) -> None:
    if await views_store.owner_of(tx, tenant_id) is None:
        raise NotFound("No such tenant.")


def _at_most(amount: Usdc, most: Usdc) -> Usdc:
    if amount > most:
        raise Unprocessable(f"The amount is more than {most} USDC.", fix=f"Give at most {most}.")
    return amount


def _price_view(price: PriceVersion) -> AdminPriceView:
    return AdminPriceView(
        price.meter,
        price.version,
        str(price.unit_price),
        price.free_units,
        price.span,
        price.made_by,
        price.since,
    )


def _cap_view(cap: SpendCap) -> TenantCapView:
    key = None if cap.api_key_id is None else str(cap.api_key_id)
    return TenantCapView(key, cap.span, str(cap.limit), str(cap.used), cap.resets_at)


def _transfer_view(tenant_id: TenantId, transfer: Transfer) -> AdminTransferView:
    return AdminTransferView(
        transfer_id=str(transfer.transfer_id),
        tenant_id=str(tenant_id),
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
