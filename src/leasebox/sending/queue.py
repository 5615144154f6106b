"""Verbs of the queue: what one try made of a hop, written down in one transaction with all that follows from it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from leasebox.infra.db import Tx
from leasebox.leases import service as leases
from leasebox.mail import denials, inside
from leasebox.mail.inside import InsideMail
from leasebox.sending import attempts_store, queue_store, service, suppressions
from leasebox.sending.backoff import next_try
from leasebox.sending.delivery_notice import Occasion, Undelivered, is_report, notice
from leasebox.sending.model import MAYBE, SendPolicy
from leasebox.sending.queue_model import FOR_GOOD, Cargo, Hop, Line
from leasebox.sending.transport_carrier import Fate, Outcome
from leasebox.sending.transport_reply import END, REPLIES_KEPT, Reply, Verdict, reply
from leasebox.values.addresses import Mailbox

Chance = Callable[[], float]
ACTOR: Final = "job:queue"
_AFTER_A_FAULT: Final = timedelta(days=1)
_STATES: Final = {Verdict.SENT: "sent", Verdict.DEFERRED: "deferred", Verdict.FAILED: "failed"}
_LATE: Final = "Not delivered in time"
_DENIED: Final = reply("leasebox", 550, "5.7.1 This instance sends no mail to that domain")


async def look(tx: Tx, hop: Hop, policy: SendPolicy, at: datetime) -> Cargo | None:
    """What a hop carries, and what stands against it since it was queued; None where its attempt is over."""
    cargo = await queue_store.cargo(tx, hop, policy.leases.domains, at)
    if cargo is None or cargo.stopped is not None or not cargo.recipients:
        return cargo
    if await denials.among(tx, "recipient", [hop.destination]):
        return msgspec.structs.replace(cargo, refused={position: _DENIED for position, _ in cargo.recipients})
    keys = {position: str(Mailbox.parse(address)) for position, address in cargo.recipients}
    found = await suppressions.among(tx, cargo.tenant_id, list(keys.values()))
    return msgspec.structs.replace(
        cargo, refused={position: _suppressed(found[key]) for position, key in keys.items() if key in found}
    )


async def refuse(tx: Tx, hop: Hop, cargo: Cargo, policy: SendPolicy, at: datetime) -> Cargo:
    """Fail those whom `look` found refused, and tell the author; the cargo for the others.

    For nobody, and nothing changed: the hop is not ours any more.
    """
    if not await queue_store.hold(tx, hop):
        return msgspec.structs.replace(cargo, recipients=())
    gone = [(position, address) for position, address in cargo.recipients if position in cargo.refused]
    fates = {position: Fate(Verdict.FAILED, cargo.refused[position]) for position, _ in gone}
    await queue_store.note(tx, hop.attempt_id, [_line(*each) for each in fates.items()], at)
    lost = [Undelivered(address, cargo.refused[position], None) for position, address in gone]
    await _tell_author(tx, hop, cargo, lost, policy, at)
    await service.settle(tx, hop.attempt_id, at)
    left = tuple(each for each in cargo.recipients if each not in gone)
    return msgspec.structs.replace(cargo, recipients=left, refused={})


async def record(
    tx: Tx,
    hop: Hop,
    cargo: Cargo,
    outcome: Outcome,
    policy: SendPolicy,
    began_at: datetime,
    at: datetime,
    chance: Chance,
) -> None:
    """Write down a try over SMTP, and settle its hop or put it off.

    A mail that was taken is never tried again, even if our claim has run out meanwhile; without the claim nothing else
    is written but the try itself. The author is told of who has failed for good, and an address that does not exist is
    suppressed.
    """
    fates, again = await _judged(tx, hop, cargo, outcome, at, chance)
    lines = [_line(position, fate) for position, fate in fates.items()]
    said = replies(outcome.said)
    ours = await queue_store.settle(tx, hop, began_at, at, outcome.remote, outcome.word, said, lines, again)
    failed = [(address, fates[position].reply) for position, address in cargo.recipients if _failed(fates, position)]
    if failed and ours:
        for address, last in failed:
            if last.is_hard_bounce:
                await _suppress(tx, hop, cargo, address, last, at)
        await _tell_author(tx, hop, cargo, [Undelivered(*each, outcome.remote) for each in failed], policy, at)
    await service.settle(tx, hop.attempt_id, at)


async def record_bluntly(
    tx: Tx, hop: Hop, cargo: Cargo, outcome: Outcome, began_at: datetime, at: datetime, chance: Chance
) -> None:
    """The least of `record`, for when that fails by a fault of ours: a mail that was taken must not go out again."""
    fates, again = await _judged(tx, hop, cargo, outcome, at, chance)
    lines = [msgspec.structs.replace(_line(position, fate), text="") for position, fate in fates.items()]
    await queue_store.settle(tx, hop, began_at, at, None, outcome.word, [], lines, again)
    await service.settle(tx, hop.attempt_id, at)


async def hand_in(tx: Tx, hop: Hop, policy: SendPolicy, at: datetime, chance: Chance) -> None:
    """Try a hop to mailboxes of this instance, without the network."""
    if not await queue_store.hold(tx, hop):
        return
    cargo = await queue_store.cargo(tx, hop, policy.leases.domains, at)
    local = await service.deliver_locally(tx, hop.attempt_id, hop.destination, policy, at)
    said = [reply("inside", code, text) for code, text in local.replies]
    again = next_try(hop.number, at, hop.expires_at, chance) if local.open else None
    if again is not None:
        await queue_store.put_off(tx, hop, again)
    else:
        await queue_store.close(tx, hop)
        late = await queue_store.cargo(tx, hop, policy.leases.domains, at) if local.open else None
        expired = (
            [(position, _given_up(Fate(Verdict.DEFERRED, said[-1]))) for position, _ in late.recipients] if late else []
        )
        await queue_store.note(tx, hop.attempt_id, [_line(*each) for each in expired], at)
    word = "deferred" if again else "failed" if any(each.verdict is not Verdict.SENT for each in said) else "sent"
    await queue_store.end_try(tx, hop, at, at, None, word, replies(said))
    if cargo is not None:
        waited = {position for position, _ in cargo.recipients}
        lost = [
            Undelivered(row["address"], reply("inside", row["reply_code"], row["reply_text"]), None)
            for row in await queue_store.failed_at(tx, hop, at)
            if row["position"] in waited
        ]
        await _tell_author(tx, hop, cargo, lost, policy, at)
    await service.settle(tx, hop.attempt_id, at)


async def finish(tx: Tx, hop: Hop, at: datetime) -> None:
    """Close a hop that has nobody left to be tried, or nothing to carry since its author's mailbox was erased."""
    if await queue_store.close(tx, hop):
        await attempts_store.cancel_left(tx, hop.attempt_id, hop.destination, at)
        await service.settle(tx, hop.attempt_id, at)


async def release(tx: Tx, hop: Hop, at: datetime) -> None:
    """Give a hop back as if it had not been claimed, unless its mail may have been taken."""
    if await queue_store.release(tx, hop):
        await service.settle(tx, hop.attempt_id, at)


async def stumble(tx: Tx, hop: Hop, at: datetime, chance: Chance) -> None:
    """Put off a hop that a fault of ours kept from being tried; it never fails for that, however long it takes."""
    again = next_try(hop.number, at, hop.expires_at, chance) or at + _AFTER_A_FAULT
    if not await queue_store.put_off(tx, hop, again):
        return
    if not await queue_store.last_seen(tx, hop, hop.number, at):
        fault = reply("leasebox", None, "a fault of this instance; its log says more")
        await queue_store.end_try(tx, hop, at, at, None, "deferred", replies([fault]))
    await service.settle(tx, hop.attempt_id, at)


def replies(said: Sequence[Reply]) -> list[dict[str, object]]:
    """Replies as a try keeps them: all, or of very many the first and the last."""
    kept = list(said)
    if len(kept) > REPLIES_KEPT:
        half = REPLIES_KEPT // 2
        kept = [*kept[:half], reply("…", None, f"{len(kept) - 2 * half} replies are not shown"), *kept[-half:]]
    return [msgspec.structs.asdict(each) for each in kept]


async def _judged(
    tx: Tx, hop: Hop, cargo: Cargo, outcome: Outcome, at: datetime, chance: Chance
) -> tuple[Mapping[int, Fate], datetime | None]:
    """What becomes of each recipient, by position, and when those that still wait are tried again."""
    fates = {position: outcome.fates[address] for position, address in cargo.recipients if address in outcome.fates}
    waiting = any(fate.verdict is Verdict.DEFERRED for fate in fates.values())
    again = next_try(hop.number, at, hop.expires_at, chance) if waiting else None
    if waiting and again is None:
        doubted = await queue_store.in_doubt(tx, hop)
        if outcome.word == "unknown":
            doubted |= {position for position, fate in fates.items() if fate.reply.command == END}
        fates = {position: _given_up(fate, MAYBE if position in doubted else _LATE) for position, fate in fates.items()}
    return fates, again


def _given_up(fate: Fate, why: str = _LATE) -> Fate:
    if fate.verdict is not Verdict.DEFERRED:
        return fate
    # The last reply keeps its code, 4yz or none; RFC 3463 §3.5 has 4.4.7 for a mail whose time was over.
    return Fate(Verdict.FAILED, reply(fate.reply.command, None, f"4.4.7 {why}; at last: {fate.reply}"))


def _suppressed(reason: str) -> Reply:
    return reply("leasebox", 550, f"5.7.1 This address is suppressed ({reason})")


def _failed(fates: Mapping[int, Fate], position: int) -> bool:
    return position in fates and fates[position].verdict is Verdict.FAILED


def _line(position: int, fate: Fate) -> Line:
    return Line(position, _STATES[fate.verdict], fate.reply.code, fate.reply.text)


async def _suppress(tx: Tx, hop: Hop, cargo: Cargo, address: str, last: Reply, at: datetime) -> None:
    key = str(Mailbox.parse(address))
    await suppressions.suppress_after(tx, cargo.tenant_id, key, "hard_bounce", hop.attempt_id, str(last), ACTOR, at)


async def _tell_author(
    tx: Tx, hop: Hop, cargo: Cargo, lost: Sequence[Undelivered], policy: SendPolicy, at: datetime
) -> None:
    """Put the notice into the author's mailbox, if it still takes mail under the very lease that sent.

    What became of a notice is told by facts alone, and so is mail that its author has no right to any more.
    """
    if not lost or is_report(cargo.content) or cargo.stopped in FOR_GOOD:
        return
    found = await leases.route(tx, Mailbox.parse(cargo.sender).address)
    if found is None or found.lease_id != cargo.lease_id:
        # Somebody leased the address after him: nothing of an earlier lessee's mail may be seen there.
        return
    token = hop.claim.hex
    domain = cargo.sender.rpartition("@")[2]
    occasion = Occasion(cargo.sender, domain, token, cargo.created_at, cargo.header_message_id)
    mail = InsideMail("", policy.hostname, token, notice(occasion, lost, cargo.content, at))
    await inside.deliver(tx, mail, [Mailbox.parse(cargo.sender).address], policy.leases, at)
