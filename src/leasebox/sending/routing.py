"""Which way each recipient of a message goes: refused, into a mailbox of this instance, or into the queue."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from leasebox.infra.db import Tx
from leasebox.leases import domains
from leasebox.leases import service as leases
from leasebox.leases.inbound import Inbound, Slot, judge
from leasebox.mail import denials
from leasebox.mail.house import MAIL_OCTETS
from leasebox.mail.model import Errand
from leasebox.sending import suppressions
from leasebox.sending.addressees import Addressee, Kind
from leasebox.sending.model import LOCAL_RETRY, REFUSALS, REPLIES, TAKEN, Letter, Place, Rejected, SendPolicy
from leasebox.values.addresses import Mailbox
from leasebox.values.ids import TenantId

Named = tuple[Kind, Addressee]
_SAID = {
    "hard_bounce": "Mail to this address came back for good.",
    "complaint": "This address complained about mail of yours.",
    "manual": "You suppressed this address.",
}


_HERE = ("local", "queued")


class Sifted(msgspec.Struct, frozen=True):
    """Recipients that nobody need be asked about, and those that are left. local: domains whose mail comes in here.

    errands: what those of role addresses are for, by their canonical spelling; they take everything but large mail.
    """

    rejected: list[Rejected]
    wanted: list[Named]
    local: frozenset[str]
    errands: dict[str, Errand] = {}

    def boxes(self) -> list[str]:
        """The mailboxes of this instance that the message is for, each once."""
        named = (each for _, each in self.wanted if each.destination in self.local and each.key not in self.errands)
        return list(dict.fromkeys(each.mailbox for each in named))


async def sift(tx: Tx, tenant_id: TenantId, letter: Letter, policy: SendPolicy) -> Sifted:
    """Leave out whom the tenant's mail is not sent to, and domains that the operator denies."""
    recipients = letter.recipients
    suppressed = await suppressions.among(tx, tenant_id, [each.key for _, each in recipients])
    named = {each.destination for _, each in recipients}
    denied = await denials.among(tx, "recipient", named)
    rejected: list[Rejected] = []
    wanted: list[Named] = []
    errands: dict[str, Errand] = {}
    for kind, each in recipients:
        errand = policy.errand(Mailbox.parse(each.key))
        if each.key in suppressed:
            rejected.append(Rejected(each.address, "suppressed", _SAID[suppressed[each.key]]))
        elif each.destination in denied:
            rejected.append(Rejected(each.address, "denied_domain", "This instance sends no mail to that domain."))
        elif errand is not None and len(letter.content) > MAIL_OCTETS:
            rejected.append(Rejected(each.address, "too_large", "552 5.3.4 Mail too big for this mailbox"))
        else:
            wanted.append((kind, each))
            errands |= {} if errand is None else {each.key: errand}
    return Sifted(rejected, wanted, await _local(tx, named - denied, policy), errands)


async def foresee(tx: Tx, boxes: Sequence[str], policy: SendPolicy, at: datetime) -> dict[str, Inbound]:
    """What mailboxes of ours would say to a message now. Nobody is locked, so it may be otherwise a moment later."""
    found = await leases.routes(tx, boxes) if boxes else {}
    return {box: judge(found.get(box), policy.leases, at) for box in boxes}


def place(sifted: Sifted, verdicts: Mapping[str, Inbound], letter: Letter) -> tuple[list[Place], list[Rejected]]:
    """Everybody's way, given what the mailboxes here would say. Pure."""
    places: list[Place] = []
    rejected: list[Rejected] = []
    for kind, each in sifted.wanted:
        if each.key in sifted.errands:
            later = letter.send_at is not None
            places.append(
                Place(kind, each, "local", "queued") if later else Place(kind, each, None, "delivered", TAKEN)
            )
            continue
        verdict = verdicts[each.mailbox] if each.destination in sifted.local else None
        if verdict is None:
            places.append(Place(kind, each, "smtp", "queued"))
        elif verdict in REFUSALS:
            rejected.append(Rejected(each.address, REFUSALS[verdict], " ".join(map(str, REPLIES[verdict]))))
        elif letter.send_at is not None or verdict is Inbound.TAKEN:
            places.append(Place(kind, each, "local", "queued"))
        else:
            places.append(Place(kind, each, "local", "deferred", REPLIES[verdict]))
    return places, rejected


def deliverable(places: Sequence[Place], letter: Letter) -> list[str]:
    """The mailboxes of ours that are to get the message at once, each once. Pure."""
    now = [] if letter.send_at is not None else places
    return list(dict.fromkeys(each.addressee.mailbox for each in now if (each.route, each.state) == _HERE))


def delivered(places: Sequence[Place], verdicts: Mapping[str, Slot | Inbound]) -> list[Place]:
    """The same places once the mailboxes have been asked under their lock. One that has changed its mind since is asked
    again by the queue, which knows how to tell the author. Pure."""
    found = []
    for each in places:
        verdict = verdicts.get(each.addressee.mailbox) if (each.route, each.state) == _HERE else None
        if isinstance(verdict, Slot):
            found.append(msgspec.structs.replace(each, route=None, state="delivered", reply=TAKEN))
        elif verdict is not None:
            found.append(msgspec.structs.replace(each, state="deferred", reply=REPLIES[verdict]))
        else:
            found.append(each)
    return found


def hops(places: Sequence[Place], letter: Letter, at: datetime) -> list[tuple[str, str, datetime]]:
    """The queue's entries: destination, route, and when it is first tried. Pure."""
    found: dict[str, tuple[str, str, datetime]] = {}
    for each in places:
        if each.route is not None:
            first = letter.send_at or (at + LOCAL_RETRY if each.state == "deferred" else at)
            found[each.addressee.destination] = (each.addressee.destination, each.route, first)
    return list(found.values())


async def _local(tx: Tx, named: set[str], policy: SendPolicy) -> frozenset[str]:
    own = frozenset(named & set(policy.leases.domains))
    others = sorted(named - own)
    return own | await domains.hosted(tx, others) if others else own
