"""What decides, after the dust has settled, whether the invariants held. Each oracle gives the offending rows.

Here stand those over tables: statements, and functions where a statement will not do; a further invariant is one more
entry. `witnesses.py` holds the instance to its clients' journal.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from leasebox.billing import invoices, ledger
from leasebox.infra.db import Database, Tx
from leasebox.values.ids import MessageId

Row = dict[str, Any]

STATEMENTS: dict[str, tuple[str, str]] = {
    "I1 nothing waits": (
        "a mail that was accepted and is no message for everybody it was accepted for",
        """
        SELECT m.id, m.state, m.tries, entry->>'message_id' AS message_id
        FROM mails m CROSS JOIN LATERAL jsonb_array_elements(m.accepted_for) AS entry
        LEFT JOIN messages AS found ON found.id = (entry->>'message_id')::uuid AND found.mail_id = m.id
        WHERE m.state <> 'done' OR found.id IS NULL
        """,
    ),
    "I2 one proof, one spend": (
        "a proof behind more than one usage event or transfer of a kind, or spent without either",
        """
        SELECT p.id, p.state, p.amount_micros,
               (SELECT count(*) FROM usage_events WHERE proof_id = p.id) AS events,
               (SELECT count(*) FROM ledger_transfers WHERE proof_id = p.id AND kind = 'spend') AS spends
        FROM payment_proofs p
        WHERE (SELECT count(*) FROM usage_events WHERE proof_id = p.id) <> (p.state = 'spent')::int
           OR (SELECT count(*) FROM ledger_transfers WHERE proof_id = p.id AND kind = 'spend')
              <> (p.state = 'spent' AND p.amount_micros > 0)::int
        """,
    ),
    "I2 a grant, a use": (
        "a tenant that has another number of leases than of metered grants",
        """
        SELECT l.tenant_id, l.leases, coalesce(u.uses, 0) AS uses
        FROM (SELECT tenant_id, count(*) AS leases FROM leases GROUP BY 1) l
        LEFT JOIN (SELECT tenant_id, sum(free_quantity + paid_quantity) AS uses FROM usage_events
                   WHERE meter = 'mailbox.lease' GROUP BY 1) u USING (tenant_id)
        WHERE EXISTS (SELECT FROM wallets WHERE wallets.tenant_id = l.tenant_id)
          AND l.leases <> coalesce(u.uses, 0)
        """,
    ),
    "I2 a recipient, a use": (
        "a tenant that has sent to another number of recipients than was metered",
        """
        SELECT tenant_id, coalesce(s.recipients, 0) AS recipients, coalesce(u.uses, 0) AS uses
        FROM (SELECT a.tenant_id, count(*) AS recipients FROM send_attempts a
              JOIN send_recipients r ON r.attempt_id = a.id GROUP BY 1) s
        FULL JOIN (SELECT tenant_id, sum(free_quantity + paid_quantity) AS uses FROM usage_events
                   WHERE meter = 'message.send' GROUP BY 1) u USING (tenant_id)
        WHERE coalesce(s.recipients, 0) <> coalesce(u.uses, 0)
        """,
    ),
    "I3 a price for every amount": (
        "a usage event that no stored price version explains",
        """
        SELECT u.id, u.meter, u.price_version, u.unit_price_micros, u.paid_quantity, u.amount_micros
        FROM usage_events u LEFT JOIN price_versions p ON (p.meter, p.version) = (u.meter, u.price_version)
        WHERE p.meter IS NULL OR p.unit_price_micros <> u.unit_price_micros
           OR u.amount_micros <> p.unit_price_micros * u.paid_quantity
        """,
    ),
    "I4 the allowance exactly": (
        "a window with more free uses than the allowance, or paid ones although some were left",
        """
        SELECT u.tenant_id, u.meter, date_trunc(p.span, u.occurred_at, 'UTC') AS begins, p.free_units,
               sum(u.free_quantity) AS free, sum(u.paid_quantity) AS paid
        FROM usage_events u JOIN price_versions p ON (p.meter, p.version) = (u.meter, u.price_version)
        GROUP BY 1, 2, 3, 4
        HAVING sum(u.free_quantity) > p.free_units
            OR (sum(u.paid_quantity) > 0 AND sum(u.free_quantity) < p.free_units)
        """,
    ),
    "I3 all is billed": (
        "a tenant whose invoices do not come to what it used",
        """
        SELECT u.tenant_id, u.used, coalesce(i.billed, 0) AS billed
        FROM (SELECT tenant_id, sum(amount_micros) AS used FROM usage_events GROUP BY 1) u
        LEFT JOIN (SELECT tenant_id, sum(total_micros) AS billed FROM invoices WHERE issued_at IS NOT NULL GROUP BY 1) i
            USING (tenant_id)
        WHERE EXISTS (SELECT FROM invoices WHERE issued_at IS NOT NULL) AND u.used <> coalesce(i.billed, 0)
        """,
    ),
    "I4 the cooldown": (
        "a tenant without a wallet that sent to more than ten within a day",
        """
        SELECT tenant_id, recipients, created_at FROM (
            SELECT a.tenant_id, a.created_at,
                   count(*) OVER (PARTITION BY a.tenant_id ORDER BY a.created_at
                                  RANGE BETWEEN '24 hours' PRECEDING AND CURRENT ROW) AS recipients
            FROM send_attempts a JOIN send_recipients r ON r.attempt_id = a.id
            WHERE NOT EXISTS (SELECT FROM wallets WHERE wallets.tenant_id = a.tenant_id)) counted
        WHERE recipients > 10
        """,
    ),
    "I7 only where it was accepted for": (
        "a message in another lease, mailbox or tenant than its mail was accepted for",
        """
        SELECT s.id, s.lease_id, s.mailbox_id, s.tenant_id, m.accepted_for
        FROM messages s JOIN mails m ON m.id = s.mail_id
        WHERE s.direction = 'inbound' AND NOT EXISTS (
            SELECT FROM jsonb_array_elements(m.accepted_for) AS entry
            WHERE (entry->>'message_id')::uuid = s.id AND (entry->>'lease_id')::uuid = s.lease_id
              AND (entry->>'mailbox_id')::uuid = s.mailbox_id AND (entry->>'tenant_id')::uuid = s.tenant_id
        )
        """,
    ),
    "I7 one lessee at a time": (
        "an address with two leases that nobody has released",
        """
        SELECT b.address, count(*) AS leases FROM leases l JOIN mailboxes b ON b.id = l.mailbox_id
        WHERE l.released_at IS NULL GROUP BY 1 HAVING count(*) > 1
        """,
    ),
    "leases that were asked for twice": (
        "more than one lease for one Idempotency-Key",
        """
        SELECT metadata->>'key' AS key, count(*) AS leases FROM leases
        WHERE metadata ? 'key' GROUP BY 1 HAVING count(*) > 1
        """,
    ),
    "one tenant for a wallet": (
        "a wallet's address with two agents",
        """
        SELECT wallet_address, count(*) AS agents FROM agents
        WHERE wallet_address IS NOT NULL GROUP BY 1 HAVING count(*) > 1
        """,
    ),
    "I6 a delivery for every fact": (
        "a fact that an endpoint asked for, which had long been there, and of which it is not to be told",
        """
        SELECT w.id AS webhook_id, f.id AS event_id, f.type FROM webhooks w
        JOIN facts f ON f.tenant_id = w.tenant_id AND f.type = ANY (w.event_types)
            AND f.xid::text::bigint > w.xmin::text::bigint + 500
        LEFT JOIN webhook_deliveries d ON (d.webhook_id, d.event_id) = (w.id, f.id)
        WHERE w.status = 'enabled' AND w.mailbox_ids IS NULL AND d.id IS NULL
        """,
    ),
    "I6 nothing given up unseen": (
        "a delivery that is over without success, and is not dead; or one that waits for nothing",
        """
        SELECT id, state, attempts FROM webhook_deliveries
        WHERE (next_at IS NULL) <> (state IN ('succeeded', 'dead'))
        """,
    ),
    "a letter is written once": (
        "two send attempts under one Idempotency-Key's subject",
        """
        SELECT m.subject, count(*) AS attempts FROM send_attempts a JOIN messages m ON m.id = a.message_id
        WHERE m.subject LIKE 'letter%' GROUP BY 1 HAVING count(*) > 1
        """,
    ),
    "durability is on": (
        "fsync, synchronous_commit or full_page_writes is off",
        """
        SELECT name, setting FROM pg_settings
        WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting <> 'on'
        """,
    ),
}


async def told_once(database: Database) -> list[Row]:
    """I6, as far as the log: a message that `message.received` does not tell of exactly once."""
    messages = await database.read(
        lambda tx: tx.all("SELECT id, tenant_id, lease_id FROM messages WHERE direction = 'inbound'")
    )
    told = await database.read(
        lambda tx: tx.all(
            "SELECT payload->>'message_id' AS message_id, tenant_id, lease_id, count(*) AS times FROM facts "
            "WHERE type = 'message.received' GROUP BY 1, 2, 3"
        )
    )
    times = {(row["message_id"], row["tenant_id"], row["lease_id"]): row["times"] for row in told}
    wrong = []
    for row in messages:
        key = (str(MessageId.of(row["id"])), row["tenant_id"], row["lease_id"])
        if times.pop(key, 0) != 1:
            wrong.append({"message_id": key[0], "told": "not once"})
    return [*wrong, *({"message_id": key[0], "told": "of nobody's message"} for key in times)]


async def books_agree(database: Database) -> list[Row]:
    """I3: debits equal credits; ledger, balances, proofs, usage, prices and invoices tell the same story."""
    trial = await database.read(ledger.trial_balance)
    debited, credited = (sum(getattr(line, side).micros for line in trial) for side in ("debited", "credited"))
    rows = [] if debited == credited else [{"debited": debited, "credited": credited}]
    rows += map(dict, await database.read(ledger.discrepancies))
    return [*rows, *map(dict, await database.read(invoices.discrepancies))]


async def fact_order(database: Database) -> list[Row]:
    """I6, as far as the log: a fact without a place in it, or a place that is skipped."""
    unplaced = await database.read(
        lambda tx: tx.all(
            "SELECT f.id, f.type FROM facts f LEFT JOIN fact_positions p ON p.fact_id = f.id WHERE p.fact_id IS NULL"
        )
    )
    gaps = await database.read(
        lambda tx: tx.all(
            "SELECT count(*) AS facts, max(position) AS last FROM fact_positions HAVING count(*) <> max(position)"
        )
    )
    return [dict(row) for row in (*unplaced, *gaps)]


FUNCTIONS: dict[str, Callable[[Database], Awaitable[list[Row]]]] = {
    "I3 the books agree": books_agree,
    "I6 a fact for every message": told_once,
    "I6 a place for every fact": fact_order,
}


async def _all(tx: Tx, statement: str) -> list[Any]:
    return list(await tx.all(statement))


async def ask_all(database: Database) -> dict[str, list[Row]]:
    """Every oracle over tables by name, with the rows that offend."""
    found: dict[str, list[Row]] = {}
    for name, (_, statement) in STATEMENTS.items():
        rows = await database.read(partial(_all, statement=statement))
        found[name] = [dict(row) for row in rows]
    for name, function in FUNCTIONS.items():
        found[name] = await function(database)
    return found
