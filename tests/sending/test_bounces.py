"""What comes back finds its attempt and nobody else's: states, facts once, suppression, and the author reads it too."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from leasebox.mail.model import FreshMessage, PendingMail
from leasebox.sending import bounces, return_path
from leasebox.sending.bounces_store import Sent
from leasebox.sending.dsn import Outcome, Report
from leasebox.values.ids import LeaseId, SendAttemptId
from leasebox.values.keys import KeyRing, Purpose, derive
from leasebox.values.secret import Secret
from tests import kit_mail
from tests.kit import House
from tests.kit_mail import Post, change, mail, messages_of, value
from tests.sending.outgoing import Author
from tests.sending.returns import back_to, complaint, counts, facts, recipients, report, sent, suppressed, taking_back

shared_house = kit_mail.shared_house
ANN, BOB = "ann@far.example", "bob@far.example"
FAILED = (ANN, "failed", "5.1.1")


@pytest.fixture(scope="module")
async def post(shared_house: House) -> AsyncIterator[Post]:
    async with taking_back(shared_house) as opened:
        yield opened


@pytest.fixture
async def author(shared_house: House) -> Author:
    return await Author.new(shared_house)


async def came_back(post: Post, attempt_id: SendAttemptId, raw: bytes, sender: str = "") -> str:
    reply = await post.send(raw, back_to(post.house, attempt_id), sender=sender)
    await post.parsed()
    return reply


async def notices(author: Author) -> list[dict[str, Any]]:
    """What the author's mailbox shows of it."""
    return [each for each in await messages_of(author.agent) if each["direction"] == "inbound"]


async def test_a_hard_bounce(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN, BOB)
    reply = await came_back(post, attempt_id, report(FAILED, diagnostic="smtp; 550 5.1.1 no such person"))
    assert reply.startswith("250 2.0.0 Stored")
    assert await recipients(post.house, attempt_id) == [(ANN, "bounced"), (BOB, "sent")]
    (fact,) = await facts(post.house, author, "message.bounced")
    assert (fact["send_attempt_id"], fact["address"], fact["reply_code"]) == (str(attempt_id), ANN, 550)
    assert "reply_text" not in fact, "a stranger's words are not sealed for ever"
    assert await suppressed(post.house, author) == [(ANN, "hard_bounce")]
    assert await counts(post.house, author) == (1, 0)
    (notice,) = await notices(author)
    assert (notice["labels"], notice["subject"]) == (["received", "unread", "bounce"], "Undelivered")
    added = "SELECT actor FROM audit_rows WHERE action = 'suppression.add' AND tenant_id = $1"
    assert await value(post.house, added, author.tenant_id) == bounces.ACTOR


async def test_the_attempt_fails_when_nobody_got_it(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN)
    await came_back(post, attempt_id, report(FAILED))
    assert await value(post.house, "SELECT state FROM send_attempts WHERE id = $1", attempt_id) == "failed"


@pytest.mark.parametrize(
    ("status", "hard"),
    [
        ("5.1.1", True), ("5.1.10", True), ("5.1.2", True), ("5.2.1", True), ("5.1.0", True),
        ("5.2.2", False), ("5.7.1", False), ("5.7.26", False), ("5.1.7", False), ("5.1.8", False), ("5.4.4", False),
        ("5.0.0", False), ("5.3.4", False), ("4.4.7", False), ("4.1.1", False), ("5.1.11", False), (None, False),
    ],
)  # fmt: skip
def test_what_suppresses(status: str | None, hard: bool) -> None:
    assert bounces.is_hard(status, Outcome.FAILED) is hard
    assert not bounces.is_hard(status, Outcome.DELAYED)


async def test_a_full_mailbox_is_no_reason_to_send_no_more(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN)
    await came_back(post, attempt_id, report((ANN, "failed", "5.2.2")))
    assert await recipients(post.house, attempt_id) == [(ANN, "bounced")]
    assert await suppressed(post.house, author) == []
    assert await counts(post.house, author) == (1, 0)


async def test_a_bounce_counts_once_however_often_it_comes(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN)
    await asyncio.gather(*(post.send(report(FAILED), back_to(post.house, attempt_id), sender="") for _ in range(6)))
    await post.parsed()
    assert len(await facts(post.house, author, "message.bounced")) == 1
    assert await counts(post.house, author) == (1, 0)
    assert len(await notices(author)) == 6


async def test_two_parsers_at_one_mail_apply_it_once(
    post: Post, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt_id = await sent(author, ANN)
    take, taken = bounces.BounceDesk.take, []

    async def thrice(self: bounces.BounceDesk, one: PendingMail, fresh: FreshMessage) -> None:
        taken.append(one.mail_id)
        await asyncio.gather(*(take(self, one, fresh) for _ in range(3)))

    monkeypatch.setattr(bounces.BounceDesk, "take", thrice)
    await came_back(post, attempt_id, report(FAILED))
    assert len(taken) == 1
    assert len(await notices(author)) == 1
    assert await counts(post.house, author) == (1, 0)


async def test_delivered_delayed_relayed(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN, BOB, "cleo@far.example")
    told = report((ANN, "delivered", "2.0.0"), (BOB, "delayed", "4.4.1"), ("cleo@far.example", "relayed", "2.0.0"))
    await came_back(post, attempt_id, told)
    assert await recipients(post.house, attempt_id) == [(ANN, "delivered"), (BOB, "sent"), ("cleo@far.example", "sent")]
    (fact,) = await facts(post.house, author, "message.delivered")
    assert fact["address"] == ANN
    assert await facts(post.house, author, "message.bounced") == []
    assert await counts(post.house, author) == (0, 0)
    (notice,) = await notices(author)
    assert notice["labels"] == ["received", "unread"]


async def test_a_failure_is_final_and_a_success_may_still_fail(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN, BOB)
    await came_back(post, attempt_id, report((ANN, "failed", "5.1.1"), (BOB, "delivered", "2.0.0")))
    await came_back(post, attempt_id, report((ANN, "delivered", "2.0.0"), (BOB, "failed", "5.2.1")))
    assert await recipients(post.house, attempt_id) == [(ANN, "bounced"), (BOB, "bounced")]
    assert [fact["address"] for fact in await facts(post.house, author, "message.bounced")] == [ANN, BOB]


async def test_a_bounce_of_what_the_queue_still_holds_stops_it(post: Post, author: Author) -> None:
    """The other side took the mail and we died before we knew; its bounce is quicker than the next try."""
    attempt_id = await author.queue(ANN)
    await came_back(post, attempt_id, report(FAILED))
    assert await recipients(post.house, attempt_id) == [(ANN, "bounced")]


async def test_nobody_but_the_attempts_own_recipients_is_spoken_of(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN, BOB)
    await came_back(post, attempt_id, report(("victim@far.example", "failed", "5.1.1")))
    assert await recipients(post.house, attempt_id) == [(ANN, "sent"), (BOB, "sent")]
    assert await suppressed(post.house, author) == []
    assert len(await notices(author)) == 1


@pytest.mark.parametrize(
    ("recipient", "original", "found"),
    [
        ("ann@far.example", None, 0),
        ("alias@elsewhere.example", "bob+x@far.example", 1),
        ("ann@far.example", "bob+x@far.example", 1),
        ("alias@elsewhere.example", None, None),
        (None, None, None),
    ],
)
def test_whom_a_report_means(recipient: str | None, original: str | None, found: int | None) -> None:
    people = [Sent(0, "ann@far.example"), Sent(1, "bob+x@far.example")]
    meant = bounces.about(Report(Outcome.FAILED, recipient, original, None, ""), people)
    assert (None if meant is None else meant.position) == found


def test_the_only_recipient_is_meant_by_any_report() -> None:
    assert bounces.about(Report(Outcome.FAILED, "x@y.example", None, None, ""), [Sent(0, ANN)]) == Sent(0, ANN)
    assert bounces.about(Report(Outcome.FAILED, ANN, None, None, ""), []) is None


async def test_an_ended_lease_shows_nothing_but_the_attempt_is_told(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN)
    await author.agent.http.post(f"/v2/mailboxes/leases/{author.lease['lease_id']}/release")
    before = await value(post.house, "SELECT count(*) FROM mails")
    await came_back(post, attempt_id, report(FAILED))
    assert await recipients(post.house, attempt_id) == [(ANN, "bounced")]
    assert await notices(author) == []
    assert await value(post.house, "SELECT count(*) FROM mails") == before


async def test_a_later_lessee_of_the_address_sees_nothing_of_it(post: Post, author: Author) -> None:
    first = await author.agent.lease(local_part="seen-by-me")
    mine = Author(post.house, author.agent, first)
    attempt_id = await sent(mine, ANN)
    await author.agent.http.post(f"/v2/mailboxes/leases/{first['lease_id']}/release")
    post.house.clock.advance(seconds=1)
    second = await author.agent.lease(local_part="seen-by-me")
    await came_back(post, attempt_id, report(FAILED))
    assert await notices(mine) == []
    used = "SELECT used_messages + used_bytes FROM leases WHERE id = $1"
    assert await value(post.house, used, LeaseId.parse(second["lease_id"])) == 0


async def test_a_full_mailbox_does_not_keep_the_attempt_from_being_told(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN)
    full = "UPDATE leases SET used_messages = 1000 WHERE id = $1"
    await change(post.house, full, LeaseId.parse(author.lease["lease_id"]))
    await came_back(post, attempt_id, report(FAILED))
    assert await recipients(post.house, attempt_id) == [(ANN, "bounced")]
    assert await notices(author) == []


async def test_an_attempt_that_is_gone_is_no_fault(post: Post, author: Author) -> None:
    gone = SendAttemptId.new(post.house.clock.now())
    assert (await came_back(post, gone, report(FAILED))).startswith("250")
    assert await value(post.house, "SELECT count(*) FROM mails WHERE $1 = ANY (concerns)", str(gone)) == 0


async def test_an_answer_of_a_person_or_machine_just_reaches_the_author(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN)
    away = mail("Out of office", "I am away.", auto_submitted="auto-replied")
    await came_back(post, attempt_id, away, sender="")
    await came_back(post, attempt_id, mail("Who are you?"), sender=ANN)
    assert await recipients(post.house, attempt_id) == [(ANN, "sent")]
    assert [each["subject"] for each in await notices(author)] == ["Who are you?", "Out of office"]
    assert all(each["labels"] == ["received", "unread"] for each in await notices(author))


# Backscatter


async def test_backscatter_never_comes_in(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN)
    path = back_to(post.house, attempt_id)
    foreign = KeyRing(derive(Secret("x" * 40), Purpose.RETURN_PATH))
    forged = [
        path.replace(path.partition(".")[2][:1], "0" if path.partition(".")[2][:1] != "0" else "1", 1),
        path[: path.index(".")] + path[path.index("@") :],
        "bounce@inbox.leasebox.test",
        "bounce+x@inbox.leasebox.test",
        return_path.make(foreign, attempt_id, "inbox.leasebox.test"),
        f"{author.address.partition('@')[0]}+x.y@far.example",
    ]
    for address in forged:
        for sender in ("", "a@far.example"):
            assert (await post.send(report(FAILED), address, sender=sender)).startswith("550"), address
    assert (await post.rcpt(path.upper())).startswith("250")


# Complaints


@pytest.mark.parametrize("role", ["complaints", "fbl", "abuse"])
async def test_a_complaint(post: Post, author: Author, role: str) -> None:
    attempt_id = await sent(author, ANN, BOB)
    raw = complaint(BOB, path=back_to(post.house, attempt_id))
    for _ in range(2):
        assert (await post.send(raw, f"{role}@inbox.leasebox.test", sender="loop@far.example")).startswith("250")
        await post.parsed()
    assert await suppressed(post.house, author) == [(BOB, "complaint")]
    assert await counts(post.house, author) == (0, 1)
    assert await recipients(post.house, attempt_id) == [(ANN, "sent"), (BOB, "sent")]
    noted = "SELECT detail ->> 'kind' FROM audit_rows WHERE action = 'complaint.note' AND resource = $1"
    assert await value(post.house, noted, str(attempt_id)) == "abuse"
    assert await notices(author) == []


async def test_whoever_complains_of_a_mail_to_himself_alone_need_not_be_named(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN)
    await post.send(complaint(path=back_to(post.house, attempt_id)), "fbl@inbox.leasebox.test")
    await post.parsed()
    assert await suppressed(post.house, author) == [(ANN, "complaint")]


async def test_a_complaint_that_names_nobody_of_several_is_only_counted(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN, BOB)
    raw = complaint("victim@far.example", path=back_to(post.house, attempt_id))
    await post.send(raw, "fbl@inbox.leasebox.test")
    await post.parsed()
    assert await suppressed(post.house, author) == []
    assert await counts(post.house, author) == (0, 1)


async def test_whoever_is_not_named_counts_once_for_a_mail_however_often_it_is_told(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN, BOB)
    for _ in range(3):
        await post.send(complaint(path=back_to(post.house, attempt_id)), "fbl@inbox.leasebox.test")
        await post.parsed()
    assert await counts(post.house, author) == (0, 1)
    await post.send(complaint(ANN, BOB, path=back_to(post.house, attempt_id)), "fbl@inbox.leasebox.test")
    await post.parsed()
    assert await counts(post.house, author) == (0, 3), "two more, by name"


async def test_a_complaint_counts_whoever_was_suppressed_before_and_for_each_mailbox(
    post: Post, author: Author
) -> None:
    other = Author(post.house, author.agent, await author.agent.lease())
    by_hand = {"address": BOB, "detail": "asked us to stop"}
    assert (await author.agent.http.post("/v2/suppressions", json=by_hand)).status_code == 201
    for each, who in ((author, ANN), (other, ANN), (other, BOB)):
        raw = complaint(who, path=back_to(post.house, await sent(each, ANN, BOB)))
        await post.send(raw, "fbl@inbox.leasebox.test")
        await post.parsed()
    assert await counts(post.house, author) == (0, 1)
    assert await counts(post.house, other) == (0, 2)
    noted = "SELECT count(*) FROM audit_rows WHERE action = 'complaint.note' AND tenant_id = $1"
    assert await value(post.house, noted, author.tenant_id) == 3
    assert await suppressed(post.house, author) == [(ANN, "complaint"), (BOB, "manual")], "the first reason stays"


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure"])
async def test_what_takes_a_complaint_back_is_none(post: Post, author: Author, kind: str) -> None:
    attempt_id = await sent(author, ANN)
    raw = complaint(ANN, path=back_to(post.house, attempt_id), kind=kind)
    await post.send(raw, "complaints@inbox.leasebox.test")
    await post.parsed()
    assert await counts(post.house, author) == (0, 0)


async def test_a_forged_complaint_harms_nobody(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN)
    path = back_to(post.house, attempt_id)
    dot = path.index(".") + 1
    forged = path[:dot] + ("0" if path[dot] != "0" else "1") + path[dot + 1 :]
    for raw in (complaint(ANN, path=forged), complaint(ANN)):
        await post.send(raw, "complaints@inbox.leasebox.test")
        await post.parsed()
    assert await suppressed(post.house, author) == []
    assert await counts(post.house, author) == (0, 0)


async def test_a_complaint_to_the_return_path_itself(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN)
    await came_back(post, attempt_id, complaint(ANN))
    assert await suppressed(post.house, author) == [(ANN, "complaint")]
    (notice,) = await notices(author)
    assert notice["labels"] == ["received", "unread", "complaint"]


async def test_nothing_of_it_is_answered(post: Post, author: Author) -> None:
    attempt_id = await sent(author, ANN)
    before = await value(post.house, "SELECT count(*) FROM send_attempts")
    await came_back(post, attempt_id, report(FAILED))
    await post.send(complaint(ANN, path=back_to(post.house, attempt_id)), "abuse@inbox.leasebox.test", sender="")
    await post.parsed()
    assert await value(post.house, "SELECT count(*) FROM send_attempts") == before
