"""Verbs of invoices: draw up, issue, pay, void, credit, show, prove.

    draft → issued → paid | void

A draft takes a month's events that are on no invoice yet, below the snapshot's horizon, in steps of their own
transactions: whoever finds a draft that somebody else began goes on with it. An event of a closed month that is
committed late is on no invoice, so the next draft of that month takes it: a supplement, under the same period, because
a statement holds one month's events only. What is issued is not edited: a credit note gives charges back.

Each charge was paid from the balance or drawn on credit as it was made; due is the second part, until it is settled or
given back. An invoice that nothing is due on is paid. Every verb that changes something locks the tenant's funds first.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from asyncpg import Record

from leasebox.audit import merkle
from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.billing import closing_store, invoice_store, ledger_store, usage
from leasebox.billing.errors import PaymentRequired
from leasebox.billing.invoice_model import Batch, Bill, CreditNote, CreditNoteId, Evidence, Invoice, Undrawn, Wanted
from leasebox.billing.model import Reason, TransferId
from leasebox.billing.statement import InvoiceId, Statement, StatementLine, UsageEvent, leaf_of, sum_up, to_csv
from leasebox.billing.usage import Month
from leasebox.infra.db import Tx
from leasebox.infra.facts_log import Fact, append
from leasebox.values.errors import Conflict, NotFound, Unprocessable
from leasebox.values.facts import INVOICE_ISSUED, INVOICE_PAID
from leasebox.values.ids import EventId, TenantId
from leasebox.values.money import Usdc

CHUNK = 256
"""Events under one of the roots that an invoice keeps; a power of two, and never changed."""
STEP = 4 * CHUNK
"""Events that one step puts on a draft; a multiple of CHUNK. The tenant's paid calls wait for a step."""
MOST_CREDITED = 1_000  # charges of one credit note
MOST_VOIDED = 5_000  # about 2 s: each one more takes longer, since all of them move the same two rows


class By(msgspec.Struct, frozen=True):
    """Who does it, when, and in which request: what the audit log says of it."""

    actor: str
    at: datetime
    request_id: str


async def open_draft(tx: Tx, tenant_id: TenantId, month: Month, at: datetime) -> InvoiceId | Undrawn:
    """Begin a draft of a tenant's month, or find the one that was begun; or say why there is none."""
    await ledger_store.open_funds(tx, tenant_id)
    begun = await invoice_store.draft_of(tx, tenant_id, month)
    if begun is not None:
        return begun
    standing = await invoice_store.standing(tx, tenant_id, month)
    if not standing["is_used"]:
        return Undrawn.NOTHING
    if standing["is_unsettled"]:
        return Undrawn.UNSETTLED
    invoice_id = InvoiceId.new(at)
    await invoice_store.open_draft(tx, invoice_id, tenant_id, month, at)
    return invoice_id


async def gather(tx: Tx, tenant_id: TenantId, month: Month, invoice_id: InvoiceId, at: datetime) -> bool:
    """Put the next events on a draft; True once it is whole, or no draft any more."""
    await ledger_store.open_funds(tx, tenant_id)
    draft = await invoice_store.draft(tx, tenant_id, invoice_id)
    if draft is None or draft["is_whole"]:
        return True
    rows = await invoice_store.unbilled(tx, tenant_id, month, draft["last_id"], STEP)
    whole_at = at if len(rows) < STEP else None
    await invoice_store.grow(tx, invoice_id, draft["event_count"], _batch(rows, whole_at))
    return whole_at is not None


async def issue(tx: Tx, tenant_id: TenantId, invoice_id: InvoiceId, by: By) -> Invoice | None:
    """Issue a whole draft, and pay it if the balance covers what is due. None: somebody else has issued it."""
    await ledger_store.open_funds(tx, tenant_id)
    root = merkle.root_of(_hashes(await invoice_store.chunk_hashes(tx, invoice_id)))
    row = await invoice_store.issue(tx, invoice_id, root, by.at)
    if row is None:
        return None
    invoice = _invoice(row)
    await _record(tx, invoice, "invoice.issue", by)
    await _tell(tx, invoice, INVOICE_ISSUED, by.at)
    return await _settle(tx, invoice, _next(by)) or invoice


async def issue_now(tx: Tx, tenant_id: TenantId, month: Month, by: By) -> Invoice:
    """Draw up and issue what a tenant used in a month that is over; if nothing was added since, the invoice as it is.

    In one transaction; `invoice_jobs.close_months` does it by itself in small ones, minutes after the month.
    Raises NotFound (tenant), Unprocessable (the month is not over, or nothing was used), Conflict (409: calls of that
    month are still being committed).
    """
    if by.at < month.end:
        raise Unprocessable(f"{month.name} is not over.", fix="Issue the invoice once the month is over, in UTC.")
    if not await ledger_store.has_tenant(tx, tenant_id):
        raise NotFound("No such tenant.")
    draft = await open_draft(tx, tenant_id, month, by.at)
    if draft is Undrawn.UNSETTLED:
        raise Conflict(
            f"Calls of {month.name} are still being committed.", fix="Try again in some seconds.", retry_after_s=5
        )
    if draft is Undrawn.NOTHING:
        row = await invoice_store.latest_of(tx, tenant_id, month)
        if row is None:
            raise Unprocessable(f"Nothing was used in {month.name}.", fix="Choose a month with usage.")
        return _invoice(row)
    while not await gather(tx, tenant_id, month, draft, by.at):
        pass
    issued = await issue(tx, tenant_id, draft, by)
    assert issued is not None, "the tenant's funds are locked, so nobody else issued it"
    return issued


async def pay(tx: Tx, tenant_id: TenantId, invoice_id: InvoiceId, by: By) -> Invoice:
    """Settle what is due from the balance; a paid invoice stays as it is.

    Raises NotFound, Conflict (409: it is void), PaymentRequired (402: the balance is too low).
    """
    await ledger_store.open_funds(tx, tenant_id)
    invoice = await get(tx, tenant_id, invoice_id)
    if invoice.state == "void":
        raise Conflict("The invoice is void: nothing is due on it.", state="void")
    if invoice.state == "paid":
        return invoice
    paid = await _settle(tx, invoice, by)
    if paid is None:
        left = str(await invoice_store.balance(tx, tenant_id, by.at))
        raise PaymentRequired(
            f"{invoice.due} USDC are due and the balance is {left}.",
            fix="Add balance first; GET /v2/billing/balance shows what there is.",
            amount_usdc=str(invoice.due),
            reasons=[Reason("balance_too_low", str(invoice.due), "invoice", None, left)],
            accepts=[],
        )
    return paid


async def settle_if_nothing_due(tx: Tx, tenant_id: TenantId, invoice_id: InvoiceId, by: By) -> Invoice | None:
    """Call an issued invoice paid if all that was due has been given back; None otherwise."""
    await ledger_store.open_funds(tx, tenant_id)
    return await _mark_paid(tx, tenant_id, invoice_id, by)


async def void(tx: Tx, invoice_id: InvoiceId, reason: str, by: By) -> Invoice:
    """Take an issued invoice back: each charge on credit is reversed, so nothing is due. What was prepaid stays paid.

    Its events stay on it and are on no other invoice. Raises NotFound, Conflict (409: it is paid or void, or a charge
    was given back to the balance), Unprocessable (more than 5,000 charges: give some back by credit notes first).
    """
    invoice = await _locked(tx, invoice_id)
    if invoice.state != "issued":
        raise Conflict(f"The invoice is {invoice.state}.", fix="Correct it by a credit note.", state=invoice.state)
    charged = await invoice_store.charges(tx, invoice_id, None)
    on_credit = [row for row in charged if row["source"] == "receivable" and not row["is_returned"]]
    if len(on_credit) > MOST_VOIDED:
        raise Unprocessable(
            f"{len(on_credit)} charges are too many to give back at once.",
            fix=f"Give charges back by credit notes until {MOST_VOIDED} are left, then void the invoice.",
        )
    amount = await _reverse(tx, invoice, on_credit, reason, by)
    row = await invoice_store.mark_void(tx, invoice.tenant_id, invoice_id, by.at)
    if row is None:
        raise Conflict(
            "A charge was given back to the balance while the invoice was paid, so that much stays due on it.",
            fix="Give the rest back by a credit note, and let what was given to the balance be paid from it.",
        )
    await _record(tx, _invoice(row), "invoice.void", by, reason=reason, amount_usdc=str(amount))
    return _invoice(row)


async def credit_note(
    tx: Tx, invoice_id: InvoiceId, event_ids: Sequence[EventId] | None, reason: str, by: By
) -> CreditNote:
    """Give charges of an issued or paid invoice back; None: all that are left.

    Each goes where it came from: what is due becomes less, and what was paid goes to the balance. Raises NotFound
    (invoice, or an event that is not charged on it), Conflict (409: draft, void, or given back before), Unprocessable
    (none at all, or more than 1,000 charges).
    """
    invoice = await _locked(tx, invoice_id)
    if invoice.state not in {"issued", "paid"}:
        raise Conflict(f"The invoice is {invoice.state}.", state=invoice.state)
    charged = _to_credit(await invoice_store.charges(tx, invoice_id, event_ids), event_ids)
    amount = await _reverse(tx, invoice, charged, reason, by)
    note_id, wrong = CreditNoteId.new(by.at), [row["transfer_id"] for row in charged]
    await invoice_store.add_note(tx, note_id, invoice_id, amount, reason, by.actor, by.at, wrong)
    await _record(
        tx, invoice, "invoice.credit", by, reason=reason, credit_note_id=str(note_id), amount_usdc=str(amount)
    )
    await _mark_paid(tx, invoice.tenant_id, invoice_id, _next(by))
    return CreditNote(
        note_id, amount, reason, by.actor, by.at, tuple(sorted(EventId.of(row["event_id"]) for row in charged))
    )


async def get(tx: Tx, tenant_id: TenantId, invoice_id: InvoiceId) -> Invoice:
    """One of a tenant's invoices. Raises NotFound, also for a draft."""
    row = await invoice_store.one(tx, tenant_id, invoice_id)
    if row is None or row["state"] == "draft":
        raise NotFound("No such invoice.")
    return _invoice(row)


async def bill(tx: Tx, tenant_id: TenantId, invoice_id: InvoiceId) -> Bill:
    """The same with its lines and credit notes. Raises NotFound."""
    invoice = await get(tx, tenant_id, invoice_id)
    notes = await invoice_store.notes(tx, invoice_id)
    return Bill(invoice, await _lines(tx, invoice_id), tuple(map(_note, notes)))


async def listed(tx: Tx, tenant_id: TenantId, wanted: Wanted, below: uuid.UUID | None, limit: int) -> list[Invoice]:
    """A tenant's invoices, newest first, drafts left out. wanted: its tenant is not asked."""
    return [_invoice(row) for row in await invoice_store.listed(tx, tenant_id, wanted, below, limit)]


async def find(tx: Tx, wanted: Wanted, below: uuid.UUID | None, limit: int) -> list[Invoice]:
    """Invoices of all tenants, newest first, with drafts: for operators."""
    return [_invoice(row) for row in await invoice_store.found(tx, wanted, below, limit)]


async def statement_opening(tx: Tx, invoice: Invoice) -> str:
    """A statement's CSV down to the header of its events."""
    return to_csv(Statement(invoice.head, await _lines(tx, invoice.invoice_id), ()))


async def statement_rows(tx: Tx, invoice: Invoice, first: int, below: int) -> str:
    """The event rows of a statement's CSV from one place to under another."""
    events = await _events(tx, invoice.invoice_id, first, below)
    # `to_csv` says how an event is written; only its place is another one than in a statement of these alone.
    rows = to_csv(Statement(invoice.head, (), events)).split("\r\n")[-1 - len(events) : -1]
    return "".join(f"event,{seq},{row.split(',', 2)[2]}\r\n" for seq, row in enumerate(rows, first))


async def prove(tx: Tx, tenant_id: TenantId, invoice_id: InvoiceId, event_id: EventId) -> Evidence:
    """That an event is in an invoice. Reads and hashes its chunk only. Raises NotFound."""
    invoice = await get(tx, tenant_id, invoice_id)
    seq = await invoice_store.seq_of(tx, invoice_id, event_id)
    if seq is None:
        raise NotFound("No such event on this invoice.")
    chunk, index = divmod(seq, CHUNK)
    events = await _events(tx, invoice_id, chunk * CHUNK, (chunk + 1) * CHUNK)
    leaves = [leaf_of(event) for event in events]
    roots = _hashes(await invoice_store.chunk_hashes(tx, invoice_id))
    # CHUNK is a power of two, so each chunk is a subtree, the last one too: a proof is a proof in it and one above it.
    path = merkle.prove_inclusion(merkle.in_memory(leaves), index, len(leaves))
    path += merkle.prove_inclusion(merkle.in_memory(roots), chunk, len(roots))
    return Evidence(events[index], leaves[index], seq, invoice.event_count, path, invoice.head.statement_hash)


async def discrepancies(tx: Tx) -> Sequence[Record]:
    """Where invoices, usage and ledger disagree: nowhere, or something is broken.

    Each row has tenant_id, rule and difference_micros.
    """
    return await closing_store.discrepancies(tx)


async def _settle(tx: Tx, invoice: Invoice, by: By) -> Invoice | None:
    await invoice_store.balance(tx, invoice.tenant_id, by.at)
    await invoice_store.settle(tx, invoice.tenant_id, invoice.invoice_id, TransferId.new(by.at), by.at, by.actor)
    return await _mark_paid(tx, invoice.tenant_id, invoice.invoice_id, by)


async def _mark_paid(tx: Tx, tenant_id: TenantId, invoice_id: InvoiceId, by: By) -> Invoice | None:
    row = await invoice_store.mark_paid(tx, tenant_id, invoice_id, by.at)
    if row is None:
        return None
    invoice = _invoice(row)
    await _record(tx, invoice, "invoice.pay", by, amount_usdc=str(invoice.settled))
    await _tell(tx, invoice, INVOICE_PAID, by.at)
    return invoice


async def _locked(tx: Tx, invoice_id: InvoiceId) -> Invoice:
    """Any tenant's invoice, its funds locked."""
    tenant_id = await invoice_store.owner(tx, invoice_id)
    if tenant_id is None:
        raise NotFound("No such invoice.")
    await ledger_store.open_funds(tx, tenant_id)
    row = await invoice_store.one(tx, tenant_id, invoice_id)
    assert row is not None, "invoices are never deleted"
    return _invoice(row)


async def _reverse(tx: Tx, invoice: Invoice, charged: Sequence[Record], reason: str, by: By) -> Usdc:
    wrong = [row["transfer_id"] for row in charged]
    refused = await invoice_store.reverse(tx, invoice.tenant_id, wrong, by.at, by.actor, reason)
    assert not refused, "the tenant's funds are locked, so nobody else gave a charge back"
    return Usdc(sum(row["amount_micros"] for row in charged))


async def _record(tx: Tx, invoice: Invoice, action: str, by: By, **more: str) -> None:
    """Write down what was done; `amount_usdc` among it where money moved."""
    resource, detail = str(invoice.invoice_id), _sums(invoice) | more
    await record(tx, Act(by.at, by.actor, action, resource, invoice.tenant_id, by.request_id, detail=detail))


async def _tell(tx: Tx, invoice: Invoice, fact: str, at: datetime) -> None:
    payload = {"invoice_id": str(invoice.invoice_id), "state": invoice.state, **_sums(invoice)}
    await append(tx, [Fact(invoice.tenant_id, None, None, fact, payload, at)])


async def _lines(tx: Tx, invoice_id: InvoiceId) -> tuple[StatementLine, ...]:
    return tuple(map(_line, await invoice_store.lines(tx, invoice_id)))


async def _events(tx: Tx, invoice_id: InvoiceId, first: int, below: int) -> tuple[UsageEvent, ...]:
    return tuple(usage.event_of(row) for row in await invoice_store.events(tx, invoice_id, first, below))


def _batch(rows: Sequence[Record], whole_at: datetime | None) -> Batch:
    events = [usage.event_of(row) for row in rows]
    leaves = [leaf_of(event) for event in events]
    chunks = (leaves[first : first + CHUNK] for first in range(0, len(leaves), CHUNK))
    paid = list(zip(events, rows, strict=True))
    return Batch(
        event_ids=[event.event_id for event in events],
        lines=sum_up(events),
        prepaid=Usdc.total(event.amount for event, row in paid if row["source"] == "balance"),
        on_credit=Usdc.total(event.amount for event, row in paid if row["source"] == "receivable"),
        credited=Usdc.total(event.amount for event, row in paid if row["is_credited"]),
        chunk_hashes=b"".join(map(merkle.root_of, chunks)),
        whole_at=whole_at,
    )


def _to_credit(charged: Sequence[Record], event_ids: Sequence[EventId] | None) -> Sequence[Record]:
    if event_ids is None:
        charged = [row for row in charged if not row["is_returned"]]
    else:
        strange = set(event_ids) - {EventId.of(row["event_id"]) for row in charged}
        if strange:
            raise NotFound("Not all of these events are charged on this invoice.", event_ids=sorted(map(str, strange)))
    if returned := [str(EventId.of(row["event_id"])) for row in charged if row["is_returned"]]:
        raise Conflict("Some of these charges were given back before.", event_ids=returned)
    if not 0 < len(charged) <= MOST_CREDITED:
        raise Unprocessable(
            f"A credit note gives 1 to {MOST_CREDITED} charges back, not {len(charged)}.",
            fix="Name the events whose charges are to be given back, in several notes if they are many.",
        )
    return charged


def _next(by: By) -> By:
    """What follows in the same act: logs are read in order of ids, which tell milliseconds apart and no less."""
    return msgspec.structs.replace(by, at=by.at + timedelta(milliseconds=1))


def _sums(invoice: Invoice) -> dict[str, str]:
    return {"period": invoice.period, "total_usdc": str(invoice.total), "due_usdc": str(invoice.due)}


def _hashes(joined: bytes) -> list[bytes]:
    return [joined[first : first + merkle.HASH_BYTES] for first in range(0, len(joined), merkle.HASH_BYTES)]


def _invoice(row: Record) -> Invoice:
    return Invoice(
        InvoiceId.of(row["id"]),
        TenantId.of(row["tenant_id"]),
        row["period"],
        row["supplement"],
        row["state"],
        row["event_count"],
        Usdc(row["total_micros"]),
        Usdc(row["prepaid_micros"]),
        Usdc(row["on_credit_micros"]),
        Usdc(row["credited_micros"]),
        Usdc(row["settled_micros"]),
        row["statement_hash"],
        row["issued_at"],
        row["paid_at"],
        row["voided_at"],
    )


def _line(row: Record) -> StatementLine:
    return StatementLine(
        row["meter"],
        row["price_version"],
        Usdc(row["unit_price_micros"]),
        row["free_quantity"],
        row["paid_quantity"],
        Usdc(row["amount_micros"]),
    )


def _note(row: Record) -> CreditNote:
    note_id, amount, events = CreditNoteId.of(row["id"]), Usdc(row["amount_micros"]), map(EventId.of, row["event_ids"])
    return CreditNote(note_id, amount, row["reason"], row["made_by"], row["at"], tuple(events))
