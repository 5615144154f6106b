"""Tenants that use and pay at moments of our choosing, and the oracles over their invoices."""

from datetime import UTC, datetime, timedelta

from leasebox.billing import invoices, ledger, service, usage
from leasebox.billing.invoice_jobs import close_months, close_tenant
from leasebox.billing.invoice_model import Invoice, Wanted
from leasebox.billing.invoices import By
from leasebox.billing.model import Admission, Demand, TransferId
from leasebox.billing.statement import InvoiceId, Statement, UsageEvent
from leasebox.billing.statement_check import verify_statement
from leasebox.billing.usage import Month
from leasebox.identity.model import SCOPES, Caller
from leasebox.infra.db import Database, Tx
from leasebox.values.ids import AgentId, EventId, SessionId, TenantId
from leasebox.values.keys import Purpose, ring
from leasebox.values.money import Usdc
from leasebox.values.paths import Route
from leasebox.values.secret import Secret
from tests.billing.shop import books_agree, tenant_of
from tests.kit import SECRET, Agent, House

LEASE, READ = Route("POST", "/v2/mailboxes/leases"), Route("GET", "/v2/messages")
KEYS = ring(Secret(SECRET), None, Purpose.PAYMENT_PROOF)
MARCH, APRIL, MAY = (usage.month_named(f"2026-{number:02}") for number in (3, 4, 5))
MID_MARCH = datetime(2026, 3, 15, 12, tzinfo=UTC)
LATER = datetime(2026, 4, 20, tzinfo=UTC)
ADMIN = By("wallet:0xadmin", LATER, "req_admin")


class StillClock:
    """A clock that stands where it was set."""

    def __init__(self, at: datetime = LATER) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


class Payer:
    """A tenant's caller, without HTTP: its calls happen when the test says."""

    def __init__(self, house: House, agent: Agent) -> None:
        self.house = house
        self.agent = agent
        self.tenant_id: TenantId = tenant_of(agent)
        self.caller = Caller(
            self.tenant_id,
            AgentId.parse(agent.agent_id),
            SessionId.new(house.clock.now()),
            frozenset(SCOPES),
            None,
            None,
            None,
            None,
            "active",
        )

    async def proof(self, at: datetime, route: Route = LEASE) -> str:
        issued = await self.house.db.transact(
            lambda tx: service.issue_proof(tx, self.caller, route, 1, KEYS, at, "req_test")
        )
        return issued.text.reveal()

    async def call(self, at: datetime, proof: str | None = None, route: Route = LEASE) -> Admission:
        return await self.house.db.transact(lambda tx: self.admit(tx, at, proof, route))

    async def admit(self, tx: Tx, at: datetime, proof: str | None = None, route: Route = LEASE) -> Admission:
        return await service.admit(tx, self.caller, Demand(route, 1, proof, at, "req_test"), KEYS)

    async def pay_call(self, at: datetime, route: Route = LEASE) -> Admission:
        """A call with a proof of its own: free while the allowance lasts, which leaves the proof to expire."""
        return await self.call(at, await self.proof(at, route), route)

    async def use_up(self, at: datetime) -> None:
        """The hour's two free leases."""
        for _ in range(2):
            assert (await self.call(at)).paid_quantity == 0

    async def buy(self, at: datetime, count: int) -> list[EventId]:
        """So many charged leases in an hour of their own."""
        await self.use_up(at)
        bought = [await self.pay_call(at) for _ in range(count)]
        assert all(each.paid_quantity == 1 for each in bought)
        return [each.event_id for each in bought]

    async def grant(self, usdc: str, at: datetime = MID_MARCH) -> TransferId:
        return await self.house.db.transact(
            lambda tx: ledger.grant(
                tx, self.tenant_id, Usdc.parse(usdc), "test", actor="test", at=at, request_id="req_test"
            )
        )

    async def funds(self, at: datetime = LATER) -> tuple[str, str]:
        """What is on the balance, and what is owed."""
        found = await self.house.db.read(lambda tx: ledger.funds(tx, self.tenant_id, at))
        return str(found.balance), str(found.owed)

    async def charge_of(self, event_id: EventId) -> TransferId:
        found = "SELECT id FROM ledger_transfers WHERE event_id = $1 AND kind = 'spend'"
        return TransferId.of(await self.house.db.read(lambda tx: tx.value(found, event_id)))

    async def reverse(self, event_id: EventId) -> None:
        """Take one charge back, as an operator may without a credit note."""
        charge = await self.charge_of(event_id)
        await self.house.db.transact(
            lambda tx: ledger.reverse(tx, self.tenant_id, charge, "wrong", actor="test", at=LATER, request_id="req")
        )

    async def close(self, month: Month = MARCH, at: datetime = LATER) -> Invoice:
        """Draw up and issue the month."""
        issued = await close_tenant(self.house.db, StillClock(at), self.tenant_id, month)
        assert isinstance(issued, Invoice), issued
        return issued

    async def invoices(self) -> list[Invoice]:
        """All of the tenant's, in order of their months."""
        rows = await self.house.db.read(lambda tx: invoices.listed(tx, self.tenant_id, Wanted(), None, 1000))
        return sorted(rows, key=lambda invoice: (invoice.period, invoice.supplement))

    async def invoice(self, invoice_id: InvoiceId) -> Invoice:
        return await self.house.db.read(lambda tx: invoices.get(tx, self.tenant_id, invoice_id))

    async def events(self) -> list[UsageEvent]:
        """All events there are, in order of id."""
        rows = await self.house.db.read(lambda tx: usage.listed(tx, self.tenant_id, None, None, None, 100_000))
        return [each.event for each in reversed(rows)]

    async def fill(self, count: int, month: Month = MARCH) -> None:
        """So many free events, spread over the month, without the calls that would make them."""
        step = (month.end - month.start) / (count + 1)
        moments = [month.start + step * number for number in range(1, count + 1)]
        insert = """
        INSERT INTO usage_events (id, tenant_id, credential_id, method, path, meter, price_version, unit_price_micros,
                                  free_quantity, paid_quantity, amount_micros, request_id, occurred_at)
        SELECT id, $1, $1, 'GET', '/v2/messages', 'message.read', 1, 100, 1, 0, 0, 'req', at
        FROM unnest($2::uuid[], $3::timestamptz[]) AS filled (id, at)
        """
        ids = [EventId.new(at) for at in moments]
        await self.house.db.transact(lambda tx: tx.run(insert, self.tenant_id, ids, moments))


async def payer(house: House) -> Payer:
    """A new tenant with a wallet, so with the usual credit."""
    return Payer(house, await house.agent())


async def close_all(db: Database, at: datetime = LATER) -> int:
    """The job, at a moment."""
    return await close_months(db, StillClock(at))


async def statement_text(house: House, invoice: Invoice, at_once: int = 100) -> str:
    """A statement as it is downloaded."""
    text = await house.db.read(lambda tx: invoices.statement_opening(tx, invoice))
    for first in range(0, invoice.event_count, at_once):
        text += await _rows(house, invoice, first, first + at_once)
    return text


async def _rows(house: House, invoice: Invoice, first: int, below: int) -> str:
    return await house.db.read(lambda tx: invoices.statement_rows(tx, invoice, first, below))


async def sound(house: House, invoice: Invoice) -> Statement:
    """The invoice's statement, checked as its payer would."""
    found = verify_statement(await statement_text(house, invoice), invoice.head)
    assert isinstance(found, Statement), found
    return found


async def all_agree(house: House) -> None:
    """The oracle: ledger, usage and invoices tell the same story, to the micro."""
    await books_agree(house)
    assert [dict(row) for row in await house.db.read(invoices.discrepancies)] == []


def hours(start: datetime, count: int) -> list[datetime]:
    """The same minute of so many hours."""
    return [start + timedelta(hours=number) for number in range(count)]
