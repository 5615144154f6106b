"""Accepting mail: recipients are judged against live leases, and a 250 is said only after the commit.

Mails are committed in groups: whatever queued while the last commit ran goes into the next one (no waiting window). A
group takes one statement, which checks that every lease is as RCPT found it; where one is not, or some of the mail is
the house's, the group goes the long way, which decides each mail by itself.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice

from leasebox.infra import log, metrics
from leasebox.infra.db import Database, StorageFull, Tx
from leasebox.infra.together import Together
from leasebox.leases import service as leases
from leasebox.leases.inbound import Inbound, Route, Slot, judge
from leasebox.leases.model import LeasePolicy
from leasebox.mail import house, intake_store, store
from leasebox.mail.house import HouseAddresses
from leasebox.mail.intake_store import Load
from leasebox.mail.model import WAKE_PARSER, Errand, HouseMail, Recipient, kind_of
from leasebox.mail.smtp_intake import AcceptVerdict, IncomingMail, Stored
from leasebox.mail.smtp_replies import MailRefusal, RcptVerdict
from leasebox.values.addresses import Mailbox
from leasebox.values.clock import Clock
from leasebox.values.errors import Unavailable
from leasebox.values.ids import LeaseId, MessageId

_BATCH_MAILS = 128
_BATCH_BYTES = 64 * 1024 * 1024
# Addresses whose leases are remembered from their RCPT to the commit.
_REMEMBERED = 10_000
_RCPT = {
    Inbound.TAKEN: RcptVerdict.ACCEPT,
    Inbound.UNKNOWN: RcptVerdict.UNKNOWN,
    Inbound.ENDED: RcptVerdict.ENDED,
    Inbound.FROZEN: RcptVerdict.FROZEN,
    Inbound.PAUSED: RcptVerdict.PAUSED,
    Inbound.OVER_QUOTA: RcptVerdict.OVER_QUOTA,
}
_DATA = {
    Inbound.UNKNOWN: MailRefusal.UNKNOWN,
    Inbound.ENDED: MailRefusal.ENDED,
    Inbound.FROZEN: MailRefusal.FROZEN,
    Inbound.PAUSED: MailRefusal.PAUSED,
    Inbound.OVER_QUOTA: MailRefusal.OVER_QUOTA,
}
_Sorted = tuple[IncomingMail, tuple[str, ...], list[HouseMail]]
_Waiting = tuple[IncomingMail, "asyncio.Future[AcceptVerdict]"]


class GroupIntake:
    """The SMTP server's `Intake`, over PostgreSQL."""

    def __init__(self, db: Database, policy: LeasePolicy, clock: Clock, own: HouseAddresses | None = None) -> None:
        self._db = db
        self._policy = policy
        self._clock = clock
        self._house = own
        self._routes = Together(self._look_up)
        self._known: dict[str, Route] = {}
        self._waiting: list[_Waiting] = []
        self._arrived = asyncio.Event()

    async def rcpt(self, address: Mailbox, size: int) -> RcptVerdict:
        """Whether a mail for this address is taken now. size: octets, as its client says; 0 if it does not."""
        errand = None if self._house is None else self._house.errand(address)
        if errand is not None:
            fits = errand.purpose == "return_path" or size <= house.MAIL_OCTETS
            return RcptVerdict.ACCEPT if fits else RcptVerdict.TOO_BIG
        if address.domain not in self._policy.domains:
            return await self._rcpt_elsewhere(address, size)
        try:
            route = await self._routes.ask(address.address)
        except Unavailable:
            return RcptVerdict.UNAVAILABLE
        return _RCPT[judge(route, self._policy, self._clock.now(), size)]

    async def _look_up(self, addresses: Sequence[str]) -> list[Route | None]:
        found = await self._db.read(lambda tx: leases.routes(tx, addresses))
        self._remember(found)
        return [found.get(each) for each in addresses]

    def _remember(self, routes: Mapping[str, Route]) -> None:
        for address, route in routes.items():
            self._known.pop(address, None)
            self._known[address] = route
        for address in [*islice(self._known, max(0, len(self._known) - _REMEMBERED))]:
            del self._known[address]

    async def _rcpt_elsewhere(self, address: Mailbox, size: int) -> RcptVerdict:
        """The same at a domain that the settings do not name: a tenant's verified one, or somebody else's."""
        try:
            hosting = await self._db.read(lambda tx: leases.route_at(tx, address.domain, address.address))
        except Unavailable:
            return RcptVerdict.UNAVAILABLE
        if hosting is None:
            return RcptVerdict.FOREIGN
        if hosting.route is not None:
            self._remember({address.address: hosting.route})
        return _RCPT[judge(hosting.route, self._policy, self._clock.now(), size)]

    async def accept(self, mail: IncomingMail) -> AcceptVerdict:
        """Store a mail in the next group; the verdict comes after its commit."""
        verdict: asyncio.Future[AcceptVerdict] = asyncio.get_running_loop().create_future()
        self._waiting.append((mail, verdict))
        self._arrived.set()
        return await verdict

    async def run(self) -> None:
        """Commit group after group, for ever. Cancel it once no mail is under way any more."""
        while True:
            await self._arrived.wait()
            group = self._next_group()
            if not group:
                self._arrived.clear()
                continue
            started = time.perf_counter()
            await self._commit(group)
            metrics.SMTP_COMMIT_SECONDS.observe(time.perf_counter() - started)
            metrics.SMTP_BATCH_MAILS.observe(len(group))

    def _next_group(self) -> list[_Waiting]:
        size, count = 0, 0
        for mail, _ in self._waiting[:_BATCH_MAILS]:
            if count and size + len(mail.content) > _BATCH_BYTES:
                break
            size, count = size + len(mail.content), count + 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _commit(self, group: list[_Waiting]) -> None:
        mails = [mail for mail, _ in group]
        verdicts: Sequence[AcceptVerdict] | None
        try:
            verdicts = await self._take_at_once(mails)
            if verdicts is None:
                verdicts = await self._db.transact(lambda tx: self._store(tx, mails))
        except StorageFull:
            verdicts = [MailRefusal.DISK_FULL] * len(group)
        except Unavailable:
            verdicts = [MailRefusal.UNAVAILABLE] * len(group)
        except Exception:  # noqa: BLE001 - answered 451 below, so that the client keeps the mail
            # One mail must not cost its neighbours: each is tried alone, and only the one at fault is refused.
            log.get("smtp").exception("a group of mails could not be stored", mails=len(group))
            if len(group) > 1:
                for alone in group:
                    await self._commit([alone])
                return
            verdicts = [MailRefusal.FAILED]
        for (_, waiting), verdict in zip(group, verdicts, strict=True):
            if not waiting.done():
                waiting.set_result(verdict)
        for said, count in Counter(map(_said, verdicts)).items():
            metrics.SMTP_MAILS.labels(said).inc(count)

    async def _take_at_once(self, mails: Sequence[IncomingMail]) -> list[Stored] | None:
        """All of a group, with one statement; None: nothing was done, for some of it must be decided by itself."""
        loads = self._loads(mails)
        if loads is None:
            return None
        now = self._clock.now()
        batch = [(mail, MessageId.new(now), self._recipients(mail, now)) for mail in mails]

        async def body(tx: Tx) -> bool:
            taken = await intake_store.take(tx, loads, batch, self._policy, now)
            if taken:
                _wake_parser(tx, mails)
            return taken

        if not await self._db.at_once(body):
            return None
        return [Stored(tuple(str(each.message_id) for each in recipients)) for _, _, recipients in batch]

    def _loads(self, mails: Sequence[IncomingMail]) -> list[Load] | None:
        """What there is for each lease, in the order of leases; None: not all is for leases known by one address."""
        loads: dict[LeaseId, Load] = {}
        for mail in mails:
            if self._house is not None and any(map(self._house.wants, mail.envelope.recipients)):
                return None
            octets = len(mail.trace) + len(mail.content)
            for address in mail.envelope.deliver_to:
                route = self._known.get(address)
                if route is None:
                    return None
                load = loads.setdefault(route.lease_id, Load(address, route))
                if load.address != address:
                    return None
                load.add(octets)
        return [loads[each] for each in sorted(loads)]

    def _recipients(self, mail: IncomingMail, at: datetime) -> tuple[Recipient, ...]:
        return tuple(_recipient(self._known[address], at) for address in mail.envelope.deliver_to)

    async def _store(self, tx: Tx, mails: Sequence[IncomingMail]) -> list[AcceptVerdict]:
        now = self._clock.now()
        sorted_mails = [self._sort_out(mail, now) for mail in mails]
        taken = await self._take(tx, sorted_mails, now)
        batch: list[tuple[IncomingMail, MessageId, tuple[Recipient, ...]]] = []
        ours: list[HouseMail] = []
        verdicts: list[AcceptVerdict] = []
        for (mail, wanted, errands), slots in zip(sorted_mails, taken, strict=True):
            if isinstance(slots, Inbound):
                verdicts.append(_refusal(slots, mail))
            elif _is_too_big(mail, errands):
                verdicts.append(MailRefusal.TOO_BIG)
            else:
                recipients = tuple(_recipient(slot, now) for slot in slots)
                batch += [(mail, MessageId.new(now), recipients)] if wanted else []
                ours += errands
                ids = [*(each.message_id for each in recipients), *(each.mail_id for each in errands)]
                verdicts.append(Stored(tuple(map(str, ids))))
        if batch:
            await store.insert_mails(tx, batch)
            _wake_parser(tx, [mail for mail, _, _ in batch])
        if ours:
            await house.keep(tx, ours)
        return verdicts

    def _sort_out(self, mail: IncomingMail, at: datetime) -> _Sorted:
        """A mail, the addresses of leases that it is for, and what of it is for the house."""
        if self._house is None:
            return mail, mail.envelope.deliver_to, []
        errands: list[Errand] = []
        wanted: dict[str, None] = {}
        for each in map(Mailbox.parse, mail.envelope.recipients):
            errand = self._house.errand(each)
            if errand is None:
                wanted[each.address] = None
            else:
                errands.append(errand)
        return mail, tuple(wanted), house.sorted_out(mail, errands, at)

    async def _take(self, tx: Tx, sorted_mails: Sequence[_Sorted], at: datetime) -> list[tuple[Slot, ...] | Inbound]:
        """What the leases say; a mail for none of them has nothing to be refused for."""
        asked = [(wanted, len(mail.trace) + len(mail.content)) for mail, wanted, _ in sorted_mails if wanted]
        if not asked:
            return [()] * len(sorted_mails)
        taken = iter(
            await leases.take_mail(tx, [each[0] for each in asked], [each[1] for each in asked], self._policy, at)
        )
        return [next(taken) if wanted else () for _, wanted, _ in sorted_mails]


def _is_too_big(mail: IncomingMail, errands: Sequence[HouseMail]) -> bool:
    """Role addresses take no large mails; what came back may hold the whole mail that we sent."""
    return len(mail.content) > house.MAIL_OCTETS and any(each.purpose != "return_path" for each in errands)


def _wake_parser(tx: Tx, mails: Sequence[IncomingMail]) -> None:
    for kind in {kind_of(len(mail.content)) for mail in mails}:
        tx.wake(WAKE_PARSER, kind)


def _said(verdict: AcceptVerdict) -> str:
    return "stored" if isinstance(verdict, Stored) else verdict.name.lower()


def _recipient(slot: Slot | Route, at: datetime) -> Recipient:
    return Recipient(MessageId.new(at), slot.lease_id, slot.mailbox_id, slot.tenant_id)


def _refusal(why: Inbound, mail: IncomingMail) -> MailRefusal:
    """A mail for several mailboxes, one of which changed since its RCPT, is put off: the next RCPT sorts it out."""
    return _DATA[why] if len(mail.envelope.deliver_to) == 1 else MailRefusal.UNAVAILABLE
