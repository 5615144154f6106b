"""Mail for the house rather than for a lease: role addresses, complaints, and what came back to our return paths.

`postmaster@` and `abuse@` of each shared domain must be taken (RFC 5321 §4.5.1, RFC 2142) and are read by admins;
`complaints@` and `fbl@` are where providers are told to send complaints (RFC 5965). None of it is ever answered.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.mail import house_store
from leasebox.mail.model import WAKE_PARSER, Errand, FreshMessage, HouseMail, PendingMail, Purpose, kind_of
from leasebox.mail.smtp_intake import IncomingMail
from leasebox.values.addresses import Mailbox
from leasebox.values.errors import NotFound
from leasebox.values.ids import MessageId, SendAttemptId

ROLES: dict[str, Purpose] = {
    "postmaster": "house",
    "abuse": "house",
    "complaints": "complaint",
    "fbl": "complaint",
}
MAIL_OCTETS = 5 * 1024 * 1024
"""The largest mail that a role address takes."""
KEPT_MAILS = 1_000
KEPT_OCTETS = 256 * 1024 * 1024
"""How much house mail is kept; the oldest goes first. Nobody who fills it keeps others' out."""


class HouseAddresses:
    """Tells the house's addresses from those of leases.

    attempt_of: reads the local part of a return path; None for one that we did not make. The domain of a return path
    does not matter: its signature says that it is ours.
    """

    def __init__(self, domains: Collection[str], attempt_of: Callable[[str], SendAttemptId | None]) -> None:
        self._domains = frozenset(domains)
        self._attempt_of = attempt_of

    def wants(self, address: str) -> bool:
        """Whether a canonical address has an errand; most have none at a glance."""
        local = address.partition("@")[0]
        is_plain = local not in ROLES and "+" not in local and not local.startswith('"')
        return not is_plain and self.errand(Mailbox.parse(address)) is not None

    def errand(self, address: Mailbox) -> Errand | None:
        """What the address is for; None for one that only a lease could have."""
        if address.tag:
            attempt_id = self._attempt_of(f"{address.local}+{address.tag}")
            if attempt_id is not None:
                return Errand("return_path", str(attempt_id))
        purpose = ROLES.get(address.local) if address.domain in self._domains else None
        return None if purpose is None else Errand(purpose, address.address)


def sorted_out(mail: IncomingMail, errands: Sequence[Errand], at: datetime) -> list[HouseMail]:
    """One mail for each purpose: a mail costs the house no more for naming it a hundred times."""
    purposes = dict.fromkeys(errand.purpose for errand in errands)
    concerns = {each: dict.fromkeys(one.concern for one in errands if one.purpose == each) for each in purposes}
    return [HouseMail(mail, MessageId.new(at), purpose, tuple(concerns[purpose])) for purpose in purposes]


async def keep(tx: Tx, mails: Sequence[HouseMail]) -> None:
    """Store mails for the parser, and drop the oldest of those that admins read where they are too many."""
    await house_store.insert(tx, mails)
    if any(each.purpose != "return_path" for each in mails):
        async with tx.across_tenants("what the house keeps is bounded over all who write to it"):
            await house_store.drop_oldest(tx, KEPT_MAILS, KEPT_OCTETS)
    for kind in {kind_of(len(each.mail.content)) for each in mails}:
        tx.wake(WAKE_PARSER, kind)


async def hold(tx: Tx, mail_id: MessageId) -> bool:
    """Keep other parsers off a mail until we commit; False: one of them is done with it."""
    return await house_store.hold(tx, mail_id)


async def drop(tx: Tx, mail_id: MessageId) -> bool:
    """Forget a mail that is nobody's to read. True."""
    await house_store.drop(tx, mail_id)
    return True


async def file(tx: Tx, mail: PendingMail, fresh: FreshMessage) -> bool:
    """Make a parsed mail of a role address readable. False: it was filed, or dropped for its age, before."""
    return await house_store.file(tx, mail.mail_id, fresh)


async def listed(tx: Tx, purpose: Purpose | None, below: object, limit: int) -> list[Record]:
    """House mail for admins, newest first, without what came back to return paths."""
    return await house_store.listed(tx, purpose, below, limit)


async def get(tx: Tx, mail_id: MessageId) -> Record:
    """One mail with its text. Raises NotFound, also for a lease's mail."""
    row = await house_store.one(tx, mail_id)
    if row is None:
        raise NotFound("No such house mail.")
    return row


async def raw(tx: Tx, mail_id: MessageId) -> bytes:
    """A mail as it was received, after our own trace fields. Raises as `get` does."""
    content = await house_store.raw(tx, mail_id)
    if content is None:
        raise NotFound("No such house mail.")
    return content
