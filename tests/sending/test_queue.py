"""What one try makes of a hop, and what follows from it, each in one transaction."""

import re
from datetime import timedelta
from typing import Any

import pytest

from leasebox.sending import queue, queue_store, suppressions
from leasebox.sending.model import SendPolicy
from leasebox.sending.queue_model import Cargo, Hop
from leasebox.sending.transport_carrier import Fate, Outcome
from leasebox.sending.transport_reply import REPLIES_KEPT, Verdict, reply
from leasebox.wiring import process
from tests.kit import House
from tests.kit_mail import change, value
from tests.sending.outgoing import Author, rows, state_of

ONE, TWO, THREE = "one@there.example", "two@there.example", "three@there.example"
OK = Fate(Verdict.SENT, reply("end of mail", 250, "2.0.0 OK"))
LATER = Fate(Verdict.DEFERRED, reply("RCPT", 450, "4.2.1 Later"))
GONE = Fate(Verdict.FAILED, reply("RCPT", 550, "5.1.1 No such user"))
DISLIKED = Fate(Verdict.FAILED, reply("end of mail", 554, "5.7.1 Spam"))


@pytest.fixture
async def author(house: House) -> Author:
    return await Author.new(house)


async def claimed(house: House) -> Hop:
    at = house.clock.now()
    until = at + timedelta(seconds=15)
    got = await house.db.transact(
        lambda tx: queue_store.claim(tx, at, until, after="", live=[], per_destination=5, places=1)
    )
    [hop] = got.hops
    return hop


async def cargo_of(house: House, hop: Hop) -> Cargo:
    found = await house.db.read(lambda tx: queue.look(tx, hop, policy(house), house.clock.now()))
    assert found is not None
    return found


def policy(house: House) -> SendPolicy:
    return SendPolicy("here.example", process.lease_policy(house.settings))


async def record(house: House, hop: Hop, word: str, **fates: Fate) -> None:
    """A try with these fates, by local part."""
    named = {f"{name}@there.example": fate for name, fate in fates.items()}
    outcome = Outcome(word, named, "mx1", tuple({fate.reply for fate in named.values()}))
    cargo, at = await cargo_of(house, hop), house.clock.now()
    await house.db.transact(lambda tx: queue.record(tx, hop, cargo, outcome, policy(house), at, at, lambda: 0.0))


async def states(house: House, attempt: Any) -> dict[str, str]:
    return {row["address"].partition("@")[0]: row["state"] for row in await rows(house, "send_recipients", attempt)}


async def test_a_hop_with_someone_left_waits_for_its_next_try(house: House, author: Author) -> None:
    attempt = await author.queue(ONE, TWO, THREE)
    hop = await claimed(house)
    await record(house, hop, "partial", one=OK, two=LATER, three=GONE)
    assert await states(house, attempt) == {"one": "sent", "two": "deferred", "three": "failed"}
    [row] = await rows(house, "send_hops", attempt)
    assert (row["state"], row["tries"]) == ("waiting", 1)
    assert 58 < (row["next_try_at"] - house.clock.now()).total_seconds() <= 60
    assert len((await cargo_of(house, hop)).recipients) == 1


async def test_the_same_again_changes_nothing(house: House, author: Author) -> None:
    """As after a commit of which the answer was lost."""
    attempt = await author.queue(ONE, TWO)
    hop = await claimed(house)
    cargo, at = await cargo_of(house, hop), house.clock.now()
    outcome = Outcome("partial", {ONE: OK, TWO: GONE}, "mx1", ())
    for _ in range(2):
        await house.db.transact(lambda tx: queue.record(tx, hop, cargo, outcome, policy(house), at, at, lambda: 0.0))
    assert await state_of(house, attempt) == "sent"
    assert len(await rows(house, "send_tries", attempt)) == 1
    assert await value(house, "SELECT count(*) FROM mails") == 1, "one notice"
    assert await value(house, "SELECT count(*) FROM suppressions") == 1
    assert await value(house, "SELECT bounce_count FROM mailbox_sends") == 1
    assert await value(house, "SELECT count(*) FROM facts WHERE type LIKE 'message.%'") == 2


async def test_only_addresses_that_do_not_exist_are_suppressed(house: House, author: Author) -> None:
    attempt = await author.queue(ONE, TWO)
    await record(house, await claimed(house), "failed", one=GONE, two=DISLIKED)
    found = await house.db.read(lambda tx: tx.all("SELECT address, detail FROM suppressions"))
    assert [(row["address"], row["detail"]) for row in found] == [(ONE, "550 5.1.1 No such user")]
    sql = "SELECT actor, resource, tenant_id, detail FROM audit_rows WHERE action = 'suppression.add'"
    [noted] = await house.db.read(lambda tx: tx.all(sql))
    assert (noted["actor"], noted["resource"], noted["tenant_id"]) == (queue.ACTOR, ONE, author.tenant_id)
    assert noted["detail"] == {"reason": "hard_bounce", "send_attempt_id": str(attempt)}


async def test_a_late_word_without_the_claim_counts_only_if_the_mail_was_taken(house: House, author: Author) -> None:
    attempt = await author.queue(ONE, TWO)
    late = await claimed(house)
    house.clock.advance(seconds=16)
    await claimed(house)
    await record(house, late, "partial", one=GONE, two=LATER)
    assert await states(house, attempt) == {"one": "queued", "two": "queued"}
    assert await value(house, "SELECT count(*) FROM suppressions") == 0
    await record(house, late, "partial", one=GONE, two=OK)
    assert await states(house, attempt) == {"one": "failed", "two": "sent"}, "then all of it is known to be true"
    assert (await rows(house, "send_hops", attempt))[0]["state"] == "done"


async def test_when_its_time_is_over_who_still_waits_has_failed(house: House, author: Author) -> None:
    attempt = await author.queue(ONE, TWO)
    house.clock.advance(days=2, seconds=1)
    await record(house, await claimed(house), "partial", one=OK, two=LATER)
    assert await states(house, attempt) == {"one": "sent", "two": "failed"}
    failed = (await rows(house, "send_recipients", attempt, "position"))[1]
    assert (failed["reply_code"], failed["reply_text"]) == (
        None,
        "4.4.7 Not delivered in time; at last: 450 4.2.1 Later",
    )
    assert (await rows(house, "send_hops", attempt))[0]["state"] == "done"


async def test_who_may_have_been_reached_by_a_try_cut_off_is_not_said_to_have_got_nothing(
    house: House, author: Author
) -> None:
    attempt = await author.queue(ONE, TWO, THREE)
    hop, at = await claimed(house), house.clock.now()
    said = [(ONE, 250), (TWO, 450), (TWO, 250), (THREE, 450)]
    rcpt = [{"command": f"RCPT {address}", "code": code, "text": ""} for address, code in said]
    await house.db.transact(lambda tx: queue_store.begin(tx, hop, at, at + timedelta(minutes=1), "mx1", rcpt))
    house.clock.advance(days=2, seconds=1)
    await record(house, await claimed(house), "deferred", one=LATER, two=LATER, three=LATER)
    texts = [row["reply_text"] for row in await rows(house, "send_recipients", attempt, "position")]
    assert texts == [
        "4.4.7 May have been taken; no reply came; at last: 450 4.2.1 Later",
        "4.4.7 May have been taken; no reply came; at last: 450 4.2.1 Later",
        "4.4.7 Not delivered in time; at last: 450 4.2.1 Later",
    ]
    assert set((await states(house, attempt)).values()) == {"failed"}
    notice = await value(house, "SELECT convert_from(content, 'UTF8') FROM mails")
    assert notice.count("May have been taken; no reply came") == 2


async def test_the_last_try_itself_may_be_the_one_in_doubt(house: House, author: Author) -> None:
    attempt = await author.queue(ONE, TWO)
    house.clock.advance(days=2, seconds=1)
    hop, at = await claimed(house), house.clock.now()
    await house.db.transact(lambda tx: queue_store.begin(tx, hop, at, at + timedelta(minutes=1), "mx1", []))
    cut = Fate(Verdict.DEFERRED, reply("end of mail", None, "no reply within 600 s"))
    await record(house, hop, "unknown", one=cut, two=LATER)
    texts = [row["reply_text"] for row in await rows(house, "send_recipients", attempt, "position")]
    assert texts == [
        "4.4.7 May have been taken; no reply came; at last: no reply within 600 s",
        "4.4.7 Not delivered in time; at last: 450 4.2.1 Later",
    ]


async def test_a_last_try_that_was_answered_leaves_no_doubt(house: House, author: Author) -> None:
    attempt = await author.queue(ONE)
    house.clock.advance(days=2, seconds=1)
    hop, at = await claimed(house), house.clock.now()
    await house.db.transact(lambda tx: queue_store.begin(tx, hop, at, at + timedelta(minutes=1), "mx1", []))
    await record(house, hop, "deferred", one=Fate(Verdict.DEFERRED, reply("end of mail", 451, "4.3.0 Full")))
    [row] = await rows(house, "send_recipients", attempt)
    assert row["reply_text"] == "4.4.7 Not delivered in time; at last: 451 4.3.0 Full"


async def test_an_author_whose_lease_has_ended_gets_no_notice_and_nothing_breaks(house: House, author: Author) -> None:
    attempt = await author.queue(ONE)
    await author.agent.http.post(f"/v2/mailboxes/leases/{author.lease['lease_id']}/release")
    await record(house, await claimed(house), "failed", one=GONE)
    assert await state_of(house, attempt) == "failed"
    assert await value(house, "SELECT count(*) FROM mails") == 0


async def test_the_blunt_record_keeps_the_verdicts(house: House, author: Author) -> None:
    attempt = await author.queue(ONE, TWO)
    hop = await claimed(house)
    cargo, at = await cargo_of(house, hop), house.clock.now()
    outcome = Outcome("partial", {ONE: OK, TWO: LATER}, "mx1", ())
    await house.db.transact(lambda tx: queue.record_bluntly(tx, hop, cargo, outcome, at, at, lambda: 0.0))
    assert await states(house, attempt) == {"one": "sent", "two": "deferred"}


async def test_a_hop_given_back_is_as_it_was(house: House, author: Author) -> None:
    attempt = await author.queue(ONE)
    hop = await claimed(house)
    assert await state_of(house, attempt) == "sending"
    await house.db.transact(lambda tx: queue.release(tx, hop, house.clock.now()))
    assert await state_of(house, attempt) == "queued"
    assert (await claimed(house)).number == 1


async def test_nobody_left_closes_a_hop(house: House, author: Author) -> None:
    attempt = await author.queue(ONE)
    hop = await claimed(house)
    await house.db.transact(lambda tx: tx.run("UPDATE send_recipients SET state = 'cancelled'"))
    await house.db.transact(lambda tx: queue.finish(tx, hop, house.clock.now()))
    assert await state_of(house, attempt) == "cancelled"


async def test_who_was_suppressed_or_denied_since_is_refused_and_the_author_told(house: House, author: Author) -> None:
    attempt = await author.queue(ONE, "Two@There.example", THREE)
    hop, at = await claimed(house), house.clock.now()
    await suppress(house, author, TWO)
    cargo = await cargo_of(house, hop)
    assert {position: str(why) for position, why in cargo.refused.items()} == {
        1: "550 5.7.1 This address is suppressed (manual)"
    }
    left = await house.db.transact(lambda tx: queue.refuse(tx, hop, cargo, policy(house), at))
    assert [address for _, address in left.recipients] == [ONE, THREE]
    assert await states(house, attempt) == {"one": "queued", "Two": "failed", "three": "queued"}
    assert await value(house, "SELECT count(*) FROM mails") == 1
    await change(house, "INSERT INTO denied_domains VALUES ('recipient', 'example', '', 'test', now())")
    cargo = await cargo_of(house, hop)
    assert set(cargo.refused) == {0, 2}
    left = await house.db.transact(lambda tx: queue.refuse(tx, hop, cargo, policy(house), at))
    assert left.recipients == ()
    await house.db.transact(lambda tx: queue.finish(tx, hop, at))
    assert await state_of(house, attempt) == "failed"
    assert await value(house, "SELECT count(*) FROM suppressions") == 1, "our own word suppresses nobody"


async def suppress(house: House, author: Author, address: str) -> None:
    at = house.clock.now()
    await house.db.transact(
        lambda tx: suppressions.suppress(tx, author.tenant_id, address, "manual", None, "by hand", at)
    )


async def test_a_hop_that_is_anothers_by_now_is_refused_nobody(house: House, author: Author) -> None:
    attempt = await author.queue(ONE)
    late = await claimed(house)
    await suppress(house, author, ONE)
    cargo = await cargo_of(house, late)
    house.clock.advance(seconds=16)
    await claimed(house)
    left = await house.db.transact(lambda tx: queue.refuse(tx, late, cargo, policy(house), house.clock.now()))
    assert left.recipients == ()
    await house.db.transact(lambda tx: queue.finish(tx, late, house.clock.now()))
    assert await states(house, attempt) == {"one": "queued"}


async def test_another_tenants_suppression_stops_nothing(house: House, author: Author) -> None:
    await author.queue(ONE)
    await suppress(house, await Author.new(house), ONE)
    assert (await cargo_of(house, await claimed(house))).refused == {}


async def test_a_stumble_never_fails_a_mail(house: House, author: Author) -> None:
    attempt = await author.queue(ONE)
    house.clock.advance(days=3)
    hop = await claimed(house)
    await house.db.transact(lambda tx: queue.stumble(tx, hop, house.clock.now(), lambda: 0.0))
    [row] = await rows(house, "send_hops", attempt)
    assert row["state"] == "waiting"
    assert 86_000 < (row["next_try_at"] - house.clock.now()).total_seconds() <= 86_400
    assert await states(house, attempt) == {"one": "queued"}


async def test_a_stumble_after_the_end_was_sent_leaves_the_outcome_unknown(house: House, author: Author) -> None:
    attempt = await author.queue(ONE)
    hop, at = await claimed(house), house.clock.now()
    await house.db.transact(lambda tx: queue_store.begin(tx, hop, at, at + timedelta(minutes=1), "mx1", []))
    await house.db.transact(lambda tx: queue.stumble(tx, hop, house.clock.now(), lambda: 0.0))
    [one_try] = await rows(house, "send_tries", attempt)
    assert (one_try["outcome"], one_try["ended_at"] is not None) == ("unknown", True)


async def test_a_local_hop_whose_mailbox_is_paused_waits(house: House, author: Author) -> None:
    other = await Author.new(house)
    attempt = await author.queue(other.address, route="local")
    await other.agent.http.post(f"/v2/mailboxes/leases/{other.lease['lease_id']}/pause")
    hop = await claimed(house)
    await house.db.transact(lambda tx: queue.hand_in(tx, hop, policy(house), house.clock.now(), lambda: 0.0))
    assert await state_of(house, attempt) == "deferred"
    [row] = await rows(house, "send_hops", attempt)
    assert (row["state"], row["tries"]) == ("waiting", 1)
    house.clock.advance(days=2, seconds=60)
    hop = await claimed(house)
    await house.db.transact(lambda tx: queue.hand_in(tx, hop, policy(house), house.clock.now(), lambda: 0.0))
    assert await state_of(house, attempt) == "failed"
    [recipient] = await rows(house, "send_recipients", attempt)
    assert recipient["reply_text"].startswith("4.4.7 Not delivered in time; at last: 450 4.2.1")
    assert [row["outcome"] for row in await rows(house, "send_tries", attempt, "number")] == ["deferred", "failed"]


async def test_the_author_hears_once_of_who_was_refused_before_a_mail_is_handed_in(
    house: House, author: Author
) -> None:
    other = await Author.new(house)
    await author.queue(other.address, "nobody@inbox.leasebox.test", route="local")
    await suppress(house, author, other.address)
    hop, at = await claimed(house), house.clock.now()
    cargo = await cargo_of(house, hop)
    await house.db.transact(lambda tx: queue.refuse(tx, hop, cargo, policy(house), at))
    await house.db.transact(lambda tx: queue.hand_in(tx, hop, policy(house), at, lambda: 0.0))
    found = await house.db.read(lambda tx: tx.all("SELECT convert_from(content, 'UTF8') AS text FROM mails"))
    named = sorted(re.findall(r"Final-Recipient: rfc822; (\S+)", "".join(row["text"] for row in found)))
    assert named == sorted([other.address, "nobody@inbox.leasebox.test"])


def test_of_very_many_replies_the_first_and_the_last_are_kept() -> None:
    said = [reply(f"RCPT {number}", 250, "OK") for number in range(REPLIES_KEPT * 2)]
    kept = queue.replies(said)
    assert len(kept) == REPLIES_KEPT + 1
    assert (kept[0]["command"], kept[-1]["command"]) == ("RCPT 0", f"RCPT {REPLIES_KEPT * 2 - 1}")
    assert kept[REPLIES_KEPT // 2]["text"] == f"{REPLIES_KEPT} replies are not shown"
    assert queue.replies(said[:3]) == [{"command": f"RCPT {n}", "code": 250, "text": "OK"} for n in range(3)]
