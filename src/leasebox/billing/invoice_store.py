"""SQL of invoices. Whoever changes a tenant's invoices has locked its funds first (`ledger_store.open_funds`)."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from asyncpg import Record

from leasebox.billing.invoice_model import Batch, CreditNoteId, Wanted
from leasebox.billing.model import TransferId
from leasebox.billing.statement import InvoiceId
from leasebox.billing.usage import Month
from leasebox.infra.db import Tx
from leasebox.values.ids import EventId, TenantId
from leasebox.values.money import Usdc

_COLUMNS = """
id, tenant_id, period, supplement, state, event_count, total_micros, prepaid_micros, on_credit_micros, credited_micros,
settled_micros, statement_hash, issued_at, paid_at, voided_at
"""
_EVENT_COLUMNS = """
e.id, e.tenant_id, e.occurred_at, e.meter, e.price_version, e.unit_price_micros, e.free_quantity, e.paid_quantity,
e.proof_id
"""
_HORIZON = "pg_snapshot_xmin(pg_current_snapshot())"

_DRAFT_OF = "SELECT id FROM invoices WHERE tenant_id = $1 AND period = $2 AND state = 'draft'"
_STANDING = f"""
SELECT EXISTS (SELECT FROM usage_events e LEFT JOIN invoice_events i ON i.event_id = e.id
               WHERE e.tenant_id = $1 AND e.id >= $2 AND e.id < $3 AND i.event_id IS NULL) AS is_used,
       EXISTS (SELECT FROM usage_events e
               WHERE e.tenant_id = $1 AND e.id >= $2 AND e.id < $3 AND e.xid >= {_HORIZON}) AS is_unsettled
"""
_OPEN = """
INSERT INTO invoices (id, tenant_id, period, supplement, state, event_count, total_micros, prepaid_micros,
                      on_credit_micros, credited_micros, settled_micros, chunk_hashes, drawn_at)
SELECT $1, $2, $3, coalesce(max(supplement) + 1, 0), 'draft', 0, 0, 0, 0, 0, 0, '', $4
FROM invoices WHERE tenant_id = $2 AND period = $3
"""
_DRAFT = """
SELECT event_count, gathered_at IS NOT NULL AS is_whole,
       (SELECT event_id FROM invoice_events WHERE invoice_id = $2 ORDER BY seq DESC LIMIT 1) AS last_id
FROM invoices WHERE tenant_id = $1 AND id = $2 AND state = 'draft'
"""
# source: what a paid event's amount was held on. credited: whether it was taken off what the tenant owes since.
_UNBILLED = f"""
SELECT {_EVENT_COLUMNS}, h.debit AS source, coalesce(r.credit = 'receivable', false) AS is_credited
FROM usage_events e
LEFT JOIN invoice_events i ON i.event_id = e.id
LEFT JOIN ledger_transfers h ON h.proof_id = e.proof_id AND h.kind = 'hold'
LEFT JOIN ledger_transfers s ON s.proof_id = e.proof_id AND s.kind = 'spend'
LEFT JOIN ledger_transfers r ON r.reverses = s.id
WHERE e.tenant_id = $1 AND e.id >= $2 AND e.id > $3 AND e.id < $4 AND i.event_id IS NULL AND e.xid < {_HORIZON}
ORDER BY e.id LIMIT $5
"""
_ADD_EVENTS = """
INSERT INTO invoice_events (event_id, invoice_id, seq)
SELECT event_id, $1, $2 + place - 1 FROM unnest($3::uuid[]) WITH ORDINALITY AS added (event_id, place)
"""
_ADD_LINES = """
INSERT INTO invoice_lines AS l (invoice_id, meter, price_version, unit_price_micros, free_quantity, paid_quantity,
                                amount_micros)
SELECT $1, * FROM unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
ON CONFLICT (invoice_id, meter, price_version) DO UPDATE SET
    free_quantity = l.free_quantity + excluded.free_quantity,
    paid_quantity = l.paid_quantity + excluded.paid_quantity,
    amount_micros = l.amount_micros + excluded.amount_micros
"""
_GROW = """
UPDATE invoices SET event_count = event_count + $2, total_micros = total_micros + $3 + $4,
    prepaid_micros = prepaid_micros + $3, on_credit_micros = on_credit_micros + $4,
    credited_micros = credited_micros + $5, chunk_hashes = chunk_hashes || $6::bytea, gathered_at = $7
WHERE id = $1 AND state = 'draft'
"""
_CHUNKS = "SELECT chunk_hashes FROM invoices WHERE id = $1"
_ISSUE = f"""
UPDATE invoices SET state = 'issued', statement_hash = $2, issued_at = $3
WHERE id = $1 AND state = 'draft' AND gathered_at IS NOT NULL RETURNING {_COLUMNS}
"""


async def draft_of(tx: Tx, tenant_id: TenantId, month: Month) -> InvoiceId | None:
    """A draft that was begun and not issued."""
    found = await tx.value(_DRAFT_OF, tenant_id, month.name)
    return None if found is None else InvoiceId.of(found)


async def standing(tx: Tx, tenant_id: TenantId, month: Month) -> Record:
    """Whether a month has events on no invoice, and whether writers that may add further ones are still at work."""
    row = await tx.one(_STANDING, tenant_id, month.first_id, month.below_id)
    assert row is not None
    return row


async def open_draft(tx: Tx, invoice_id: InvoiceId, tenant_id: TenantId, month: Month, at: datetime) -> None:
    await tx.run(_OPEN, invoice_id, tenant_id, month.name, at)


async def draft(tx: Tx, tenant_id: TenantId, invoice_id: InvoiceId) -> Record | None:
    """How far a draft has come; None if it is none any more."""
    return await tx.one(_DRAFT, tenant_id, invoice_id)


async def unbilled(tx: Tx, tenant_id: TenantId, month: Month, after: uuid.UUID | None, limit: int) -> list[Record]:
    """The month's next events on no invoice, in order of id, below the snapshot's horizon."""
    return await tx.all(_UNBILLED, tenant_id, month.first_id, after or uuid.UUID(int=0), month.below_id, limit)


async def grow(tx: Tx, invoice_id: InvoiceId, first_seq: int, batch: Batch) -> None:
    """Put a batch on a draft."""
    lines = batch.lines
    await tx.run(_ADD_EVENTS, invoice_id, first_seq, batch.event_ids)
    await tx.run(
        _ADD_LINES,
        invoice_id,
        [line.meter for line in lines],
        [line.price_version for line in lines],
        [line.unit_price.micros for line in lines],
        [line.free_quantity for line in lines],
        [line.paid_quantity for line in lines],
        [line.amount.micros for line in lines],
    )
    sums = (batch.prepaid.micros, batch.on_credit.micros, batch.credited.micros)
    await tx.run(_GROW, invoice_id, len(batch.event_ids), *sums, batch.chunk_hashes, batch.whole_at)


async def chunk_hashes(tx: Tx, invoice_id: InvoiceId) -> bytes:
    hashes: bytes = await tx.value(_CHUNKS, invoice_id)
    return hashes


async def issue(tx: Tx, invoice_id: InvoiceId, statement_hash: bytes, at: datetime) -> Record | None:
    """Issue a whole draft; None if somebody else did."""
    return await tx.one(_ISSUE, invoice_id, statement_hash, at)


_RELEASE_EXPIRED = "SELECT released FROM release_expired($1, $2)"
# Both take nothing where the balance is too low, nothing is due, or somebody else was first.
_SETTLE = """
INSERT INTO ledger_transfers (id, tenant_id, kind, debit, credit, amount_micros, at, made_by, note)
SELECT $3, i.tenant_id, 'settlement', 'balance', 'receivable',
       i.on_credit_micros - i.credited_micros - i.settled_micros, $4, $5, $6
FROM invoices i JOIN tenant_funds f USING (tenant_id)
WHERE i.tenant_id = $1 AND i.id = $2 AND i.state = 'issued'
    AND i.on_credit_micros - i.credited_micros - i.settled_micros BETWEEN 1 AND f.balance_micros
FOR UPDATE OF f, i
"""
_LINK = "INSERT INTO invoice_settlements (transfer_id, invoice_id) VALUES ($1, $2)"
_MARK_PAID = f"""
UPDATE invoices SET state = 'paid', paid_at = $3
WHERE tenant_id = $1 AND id = $2 AND state = 'issued' AND credited_micros + settled_micros = on_credit_micros
RETURNING {_COLUMNS}
"""
_MARK_VOID = f"""
UPDATE invoices SET state = 'void', voided_at = $3
WHERE tenant_id = $1 AND id = $2 AND state = 'issued' AND settled_micros = 0 AND credited_micros = on_credit_micros
RETURNING {_COLUMNS}
"""
_BALANCE = "SELECT balance_micros FROM tenant_funds WHERE tenant_id = $1"
_CHARGES = """
SELECT i.event_id, s.id AS transfer_id, s.amount_micros, h.debit AS source, r.id IS NOT NULL AS is_returned
FROM invoice_events i
JOIN usage_events e ON e.id = i.event_id
JOIN ledger_transfers s ON s.proof_id = e.proof_id AND s.kind = 'spend'
JOIN ledger_transfers h ON h.proof_id = e.proof_id AND h.kind = 'hold'
LEFT JOIN ledger_transfers r ON r.reverses = s.id
WHERE i.invoice_id = $1 AND ($2::uuid[] IS NULL OR i.event_id = ANY ($2))
ORDER BY i.seq
"""
_REVERSE = """
SELECT count(*) FROM unnest($2::uuid[]) AS wrong (id)
CROSS JOIN LATERAL reverse_transfer(id_at($3), $1, wrong.id, $3, $4, $5) AS done WHERE done.outcome <> 'reversed'
"""
_ADD_NOTE = """
INSERT INTO credit_notes (id, invoice_id, amount_micros, reason, made_by, at) VALUES ($1, $2, $3, $4, $5, $6)
"""
_ADD_CHARGES = """
INSERT INTO credit_note_charges (event_id, note_id, transfer_id)
SELECT event_id, $1, id FROM ledger_transfers WHERE reverses = ANY ($2::uuid[])
"""


async def balance(tx: Tx, tenant_id: TenantId, at: datetime) -> Usdc:
    """What the tenant may use, once its expired holds are given back. Its funds are locked."""
    await tx.run(_RELEASE_EXPIRED, tenant_id, at)
    return Usdc(await tx.value(_BALANCE, tenant_id))


async def settle(
    tx: Tx, tenant_id: TenantId, invoice_id: InvoiceId, transfer_id: TransferId, at: datetime, actor: str
) -> None:
    """Pay all that is due from the balance, if that covers it."""
    if await tx.run(_SETTLE, tenant_id, invoice_id, transfer_id, at, actor, str(invoice_id)):
        await tx.run(_LINK, transfer_id, invoice_id)


async def mark_paid(tx: Tx, tenant_id: TenantId, invoice_id: InvoiceId, at: datetime) -> Record | None:
    """Call an issued invoice paid if nothing is due on it; None otherwise."""
    return await tx.one(_MARK_PAID, tenant_id, invoice_id, at)


async def mark_void(tx: Tx, tenant_id: TenantId, invoice_id: InvoiceId, at: datetime) -> Record | None:
    """Call an issued invoice void if all that was drawn on credit was given back; None otherwise."""
    return await tx.one(_MARK_VOID, tenant_id, invoice_id, at)


async def charges(tx: Tx, invoice_id: InvoiceId, event_ids: Sequence[EventId] | None) -> list[Record]:
    """What was charged for these events of an invoice, or for all of it, in order."""
    return await tx.all(_CHARGES, invoice_id, event_ids)


async def reverse(
    tx: Tx, tenant_id: TenantId, transfer_ids: Sequence[uuid.UUID], at: datetime, actor: str, note: str
) -> int:
    """Take charges back; how many could not be."""
    refused: int = await tx.value(_REVERSE, tenant_id, transfer_ids, at, actor, note)
    return refused


async def add_note(
    tx: Tx,
    note_id: CreditNoteId,
    invoice_id: InvoiceId,
    amount: Usdc,
    reason: str,
    actor: str,
    at: datetime,
    reversed_ids: Sequence[uuid.UUID],
) -> None:
    await tx.run(_ADD_NOTE, note_id, invoice_id, amount.micros, reason, actor, at)
    await tx.run(_ADD_CHARGES, note_id, reversed_ids)


_ONE = f"SELECT {_COLUMNS} FROM invoices WHERE tenant_id = $1 AND id = $2"
_OWNER = "SELECT tenant_id FROM invoices WHERE id = $1"
_OF_MONTH = f"SELECT {_COLUMNS} FROM invoices WHERE tenant_id = $1 AND period = $2 ORDER BY supplement DESC LIMIT 1"
# Drafts are nobody's bill yet.
_OF_TENANT = f"""
SELECT {_COLUMNS} FROM invoices
WHERE tenant_id = $1 AND state <> 'draft' AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR period = $3)
    AND ($4::uuid IS NULL OR id < $4)
ORDER BY id DESC LIMIT $5
"""
_FIND = f"""
SELECT {_COLUMNS} FROM invoices
WHERE ($1::uuid IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR period = $3)
    AND ($4::uuid IS NULL OR id < $4)
ORDER BY id DESC LIMIT $5
"""
_LINES = """
SELECT meter, price_version, unit_price_micros, free_quantity, paid_quantity, amount_micros FROM invoice_lines
WHERE invoice_id = $1 ORDER BY meter COLLATE "C", price_version
"""
_NOTES = """
SELECT n.id, n.amount_micros, n.reason, n.made_by, n.at, array_agg(c.event_id ORDER BY c.event_id) AS event_ids
FROM credit_notes n JOIN credit_note_charges c ON c.note_id = n.id
WHERE n.invoice_id = $1 GROUP BY n.id ORDER BY n.id
"""
_EVENTS = f"""
SELECT {_EVENT_COLUMNS} FROM invoice_events i JOIN usage_events e ON e.id = i.event_id
WHERE i.invoice_id = $1 AND i.seq >= $2 AND i.seq < $3 ORDER BY i.seq
"""
_SEQ = "SELECT seq FROM invoice_events WHERE invoice_id = $1 AND event_id = $2"


async def one(tx: Tx, tenant_id: TenantId, invoice_id: InvoiceId) -> Record | None:
    return await tx.one(_ONE, tenant_id, invoice_id)


async def owner(tx: Tx, invoice_id: InvoiceId) -> TenantId | None:
    """Whose invoice it is."""
    found = await tx.value(_OWNER, invoice_id)
    return None if found is None else TenantId.of(found)


async def latest_of(tx: Tx, tenant_id: TenantId, month: Month) -> Record | None:
    """A month's invoice, or its last supplement."""
    return await tx.one(_OF_MONTH, tenant_id, month.name)


async def listed(tx: Tx, tenant_id: TenantId, wanted: Wanted, below: uuid.UUID | None, limit: int) -> list[Record]:
    """A tenant's invoices without drafts, newest first."""
    return await tx.all(_OF_TENANT, tenant_id, wanted.state, wanted.period, below, limit)


async def found(tx: Tx, wanted: Wanted, below: uuid.UUID | None, limit: int) -> list[Record]:
    """All tenants' invoices, newest first."""
    return await tx.all(_FIND, wanted.tenant_id, wanted.state, wanted.period, below, limit)


async def lines(tx: Tx, invoice_id: InvoiceId) -> list[Record]:
    return await tx.all(_LINES, invoice_id)


async def notes(tx: Tx, invoice_id: InvoiceId) -> list[Record]:
    return await tx.all(_NOTES, invoice_id)


async def events(tx: Tx, invoice_id: InvoiceId, first_seq: int, below_seq: int) -> list[Record]:
    """Some of an invoice's events, in the order of its statement."""
    return await tx.all(_EVENTS, invoice_id, first_seq, below_seq)


async def seq_of(tx: Tx, invoice_id: InvoiceId, event_id: EventId) -> int | None:
    """An event's place in the statement; None if it is not in it."""
    place: int | None = await tx.value(_SEQ, invoice_id, event_id)
    return place
