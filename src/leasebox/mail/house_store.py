"""SQL of mail for the house. No tenant owns it; only admins read it."""

from collections.abc import Sequence

from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.mail import store
from leasebox.mail.model import FreshMessage, HouseMail
from leasebox.values.ids import MessageId

_INSERT = """
INSERT INTO mails (id, received_at, mail_from, helo, client_address, protocol, trace, content, accepted_for, state,
                   tries, purpose, concerns)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '[]', 'pending', 0, $9, $10)
"""
_DROP_OLDEST = """
DELETE FROM mails WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER newest AS place, sum(octet_length(content)) OVER newest AS octets
        FROM mails WHERE purpose IN ('complaint', 'house') WINDOW newest AS (ORDER BY id DESC)
    ) AS kept WHERE place > $1 OR octets > $2
)
"""
_SHOWN = """
m.id, m.purpose, m.concerns, m.received_at, m.mail_from, m.client_address,
octet_length(m.trace) + octet_length(m.content) AS size_bytes, b.headers
"""
_OF_ADMINS = "m.purpose IN ('complaint', 'house') AND m.state = 'done'"
_LIST = f"""
SELECT {_SHOWN} FROM mails m JOIN mail_bodies b ON b.mail_id = m.id
WHERE {_OF_ADMINS} AND ($1::text IS NULL OR m.purpose = $1) AND ($2::uuid IS NULL OR m.id < $2)
ORDER BY m.id DESC LIMIT $3
"""
_ONE = f"""
SELECT {_SHOWN}, b.body_text FROM mails m JOIN mail_bodies b ON b.mail_id = m.id WHERE {_OF_ADMINS} AND m.id = $1
"""
_RAW = f"SELECT m.trace || m.content FROM mails m WHERE {_OF_ADMINS} AND m.id = $1"
_HOLD = "SELECT FROM mails WHERE id = $1 AND state = 'pending' FOR UPDATE"
_DROP = "DELETE FROM mails WHERE id = $1 AND purpose <> 'lease'"


async def insert(tx: Tx, mails: Sequence[HouseMail]) -> None:
    """One statement each: they are rare."""
    for each in mails:
        mail, envelope = each.mail, each.mail.envelope
        await tx.run(
            _INSERT,
            each.mail_id,
            mail.received_at,
            envelope.mail_from,
            envelope.helo,
            envelope.client_ip,
            envelope.protocol,
            mail.trace,
            mail.content,
            each.purpose,
            list(each.concerns),
        )


async def drop_oldest(tx: Tx, most_mails: int, most_octets: int) -> int:
    """Keep the newest mails within both bounds; how many are gone."""
    return await tx.run(_DROP_OLDEST, most_mails, most_octets)


async def file(tx: Tx, mail_id: MessageId, fresh: FreshMessage) -> bool:
    """Store what was read in a mail; False if another parser did, or it is gone."""
    if not await store.finish_mail(tx, mail_id):
        return False
    await store.insert_body(tx, mail_id, fresh)
    return True


async def hold(tx: Tx, mail_id: MessageId) -> bool:
    """Lock a mail that is still to be taken care of; False if there is none."""
    return await tx.one(_HOLD, mail_id) is not None


async def drop(tx: Tx, mail_id: MessageId) -> None:
    """Forget a mail that nobody is to read."""
    await tx.run(_DROP, mail_id)


async def listed(tx: Tx, purpose: str | None, below: object, limit: int) -> list[Record]:
    return await tx.all(_LIST, purpose, below, limit)


async def one(tx: Tx, mail_id: MessageId) -> Record | None:
    return await tx.one(_ONE, mail_id)


async def raw(tx: Tx, mail_id: MessageId) -> bytes | None:
    content: bytes | None = await tx.value(_RAW, mail_id)
    return content
