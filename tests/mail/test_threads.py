"""Which thread a mail joins: a table of pairs, both directions, and what deleting leaves."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from leasebox.infra.db import Tx
from leasebox.leases import service as leases
from leasebox.mail import inside, mime, parse_worker, service, threads
from leasebox.mail.model import FreshMessage
from leasebox.values.ids import LeaseId, ThreadId
from leasebox.wiring import process
from tests import kit_mail
from tests.fakes.clock import FakeClock
from tests.kit import Agent, House
from tests.kit_mail import Post, mail

shared_house = kit_mail.shared_house
ADA, BOB = "Ada <ada@shop.example>", "Bob <bob@else.example>"
FIRST = {"subject": "Lunch", "From": ADA, "message_id": "<1@shop.example>"}


@pytest.fixture(scope="module")
async def post(shared_house: House) -> AsyncIterator[Post]:
    async with kit_mail.receiving(shared_house) as one:
        yield one


async def thread_of(agent: Agent, message_id: str) -> str:
    answer = await agent.http.get(f"/v2/messages/{message_id}")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["thread_id"])


async def put(post: Post, agent: Agent, address: str, *letters: dict[str, str]) -> list[str]:
    """Deliver mails one after another; the thread of each."""
    found = []
    for letter in letters:
        (message_id,) = await post.deliver(mail(**letter), address)
        found.append(await thread_of(agent, message_id))
    return found


async def send(house: House, lease: dict[str, Any], raw: bytes) -> ThreadId:
    """File an outgoing mail in its author's mailbox, as sending does; its thread."""
    fresh = msgspec.structs.replace(
        service.fresh_message(mime.parse(raw), parse_worker.NOTHING_FOUND, service.UNTOLD), direction="outbound"
    )
    policy, now = process.lease_policy(house.settings), house.clock.now()

    async def body(tx: Tx) -> ThreadId:
        ((slot,),) = await leases.take_mail(tx, [[lease["address"]]], [len(raw)], policy, now)  # type: ignore[misc]
        _, thread_id = await inside.keep_sent(tx, raw, lease["address"], slot, fresh, now)
        return thread_id

    return await house.db.transact(body)


def letter(lease: int, message_id: str | None, *related: str, subject: str = "Lunch") -> threads.Letter:
    return threads.Letter(
        lease_id=LeaseId.of(UUID(int=lease)),
        at=datetime(2026, 11, 20, tzinfo=UTC),
        message_id=message_id,
        related=related,
        subject=subject,
        people=("ada@shop.example",),
    )


@pytest.mark.parametrize(
    ("mails", "turns"),
    [
        pytest.param([], [], id="none"),
        pytest.param([[letter(1, f"<{n}>")] for n in range(3)], [0, 0, 0], id="strangers in one mailbox"),
        pytest.param([[letter(1, None)], [letter(1, None)]], [0, 0], id="without message ids"),
        pytest.param([[letter(1, "<1>")], [letter(2, "<1>")], [letter(3, "<2>", "<1>")]], [0, 0, 0], id="apart"),
        pytest.param([[letter(1, "<1>")], [letter(1, "<1>")]], [0, 1], id="the same mail twice"),
        pytest.param([[letter(1, "<1>")], [letter(1, "<2>", "<1>")]], [0, 1], id="an answer"),
        pytest.param([[letter(1, "<2>", "<1>")], [letter(1, "<1>")]], [0, 1], id="an answer that came first"),
        pytest.param([[letter(1, "<1>")], [letter(1, "<2>", subject="Re: Lunch")]], [0, 1], id="an answer by subject"),
        pytest.param(
            [[letter(1, "<1>", "<0>")], [letter(1, "<2>"), letter(2, "<2>")], [letter(2, "<3>")]],
            [0, 1, 1],
            id="a mailbox's mails keep their order",
        ),
        pytest.param(
            [[letter(1, "<1>", "<0>")], [letter(1, "<2>", "<1>")], [letter(1, "<3>")]], [0, 1, 2], id="one by one"
        ),
    ],
)
def test_mails_that_may_belong_together_take_turns(mails: list[list[threads.Letter]], turns: list[int]) -> None:
    assert threads.turns(mails) == turns


@pytest.mark.parametrize(
    ("second", "same"),
    [
        ({"subject": "Re: Lunch", "in_reply_to": "<1@shop.example>", "From": BOB}, True),
        ({"subject": "Something else", "references": "<0@x.example> <1@shop.example>", "From": BOB}, True),
        ({"subject": "Re: Lunch", "From": ADA}, True),
        ({"subject": "AW: [team] LUNCH", "From": "ADA <Ada@Shop.example>"}, True),
        ({"subject": "Re: Lunch", "From": ADA, "in_reply_to": "<rewritten@relay.example>"}, True),
        ({"subject": "Lunch", "message_id": "<1@shop.example>", "From": ADA}, True),
        ({"subject": "Re: Lunch", "From": BOB}, False),
        ({"subject": "Lunch", "From": ADA}, False),
        ({"subject": "Fwd: Lunch", "From": ADA}, False),
        ({"subject": "Re: Dinner", "From": ADA}, False),
        ({"subject": "Re:", "From": ADA}, False),
        ({"subject": "Re: Lunch", "From": "nobody"}, False),
    ],
    ids=[
        "answers its message id",
        "names it among the references",
        "an answer with its subject from the same person",
        "in another case, language and list",
        "its message id was rewritten on the way",
        "the same mail once more",
        "a stranger with the same subject",
        "the same subject, but no answer",
        "forwarded",
        "another subject",
        "no subject left",
        "no address",
    ],
)
async def test_which_mails_belong_together(post: Post, second: dict[str, str], same: bool) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    one, two = await put(post, agent, lease["address"], FIRST, second)
    assert (one == two) is same


async def test_whoever_got_the_first_mail_may_answer_it_by_subject(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    first = {**FIRST, "To": f"{lease['address']}, carl@x.example", "Cc": "Dora <DORA@x.example>"}
    answers = [{"subject": "Re: Lunch", "From": sender} for sender in ("carl@x.example", "dora@x.example", BOB)]
    found = await put(post, agent, lease["address"], first, *answers)
    assert found[0] == found[1] == found[2] != found[3]


async def test_a_subject_counts_for_a_week(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    lease = await agent.lease(ttl_hours=720)
    answer = {"subject": "Re: Lunch", "From": ADA}
    found = await put(post, agent, lease["address"], FIRST)
    for days in (6.9, 6.9, 7.1):
        house.clock.advance(days=days)
        agent = await house.agent(agent.wallet)
        found += await put(post, agent, lease["address"], answer)
    assert found[0] == found[1] == found[2] != found[3]
    span = threads.SUBJECT_SPAN
    assert span == timedelta(days=7)


async def test_no_thread_reaches_another_mailbox(post: Post) -> None:
    agent = await post.house.agent()
    first, second = await agent.lease(), await agent.lease()
    answer = {"subject": "Re: Lunch", "in_reply_to": "<1@shop.example>", "From": ADA}
    (one,) = await put(post, agent, first["address"], FIRST)
    (two,) = await put(post, agent, second["address"], answer)
    assert one != two
    messages = await post.deliver(
        mail(**{**answer, "message_id": "<2@shop.example>"}), first["address"], second["address"]
    )
    assert {await thread_of(agent, each) for each in messages} == {one, two}


async def test_a_mail_that_comes_after_its_answer_joins_it(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    answers = [
        {"subject": "Re: Lunch", "references": "<0@x.example> <1@shop.example>", "From": BOB},
        {"subject": "New words", "in_reply_to": "<1@shop.example>", "From": "c@x.example"},
    ]
    found = await put(post, agent, lease["address"], *answers, FIRST)
    assert len(set(found)) == 1


async def test_a_thread_survives_the_mails_deleted_from_it_and_is_forgotten_with_the_last(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    lease = await agent.lease()
    answer = {"subject": "x", "in_reply_to": "<1@shop.example>", "message_id": "<2@shop.example>", "From": BOB}
    (first,) = await post.deliver(mail(**FIRST), lease["address"])
    (second,) = await post.deliver(mail(**answer), lease["address"])
    thread = await thread_of(agent, first)
    assert (await agent.http.delete(f"/v2/messages/{first}")).status_code == 204
    assert await put(post, agent, lease["address"], FIRST) == [thread]
    for each in (await agent.http.get("/v2/messages", params={"thread_id": thread})).json()["items"]:
        assert (await agent.http.delete(f"/v2/messages/{each['message_id']}")).status_code == 204
    noted = "SELECT count(*) FROM thread_references WHERE lease_id = $1"
    assert await kit_mail.value(house, noted, LeaseId.parse(lease["lease_id"])) == 0
    assert await put(post, agent, lease["address"], FIRST) != [thread]
    assert second


@pytest.mark.parametrize("verb", ["mailbox", "retention"])
async def test_nothing_of_a_thread_is_left_when_its_mail_is_erased(post: Post, verb: str) -> None:
    house = post.house
    agent = await house.agent()
    lease = await agent.lease()
    await put(post, agent, lease["address"], {**FIRST, "in_reply_to": "<0@x.example>"})
    noted, lease_id = "SELECT count(*) FROM thread_references WHERE lease_id = $1", LeaseId.parse(lease["lease_id"])
    assert await kit_mail.value(house, noted, lease_id) == 1
    if verb == "mailbox":
        assert (await agent.http.delete(f"/v2/mailboxes/accounts/{lease['mailbox_id']}")).status_code == 204
    else:
        await house.db.transact(lambda tx: service.erase_of_leases(tx, [lease_id]))
    assert await kit_mail.value(house, noted, lease_id) == 0


async def test_threads_hold_both_directions(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    lease = await agent.lease()
    sent = await send(house, lease, mail("Lunch", message_id="<out@inbox.example>", To=ADA))
    by_id = {"subject": "Whatever", "in_reply_to": "<out@inbox.example>", "From": BOB}
    by_subject = {"subject": "Re: Lunch", "From": ADA}
    stranger = {"subject": "Re: Lunch", "From": "eve@x.example"}
    found = await put(post, agent, lease["address"], by_id, by_subject, stranger)
    assert found[:2] == [str(sent), str(sent)]
    assert found[2] != str(sent)
    answer = await send(house, lease, mail("Re: Lunch", To=ADA))
    other = await send(house, lease, mail("Re: Lunch", To="zoe@x.example"))
    assert (answer == sent, other == sent) == (True, False)


def test_the_people_who_decide_are_the_others() -> None:
    base = service.fresh_message(
        mime.parse(mail(From=ADA, To=BOB, Cc="carl@x.example")), parse_worker.NOTHING_FOUND, service.UNTOLD
    )
    lease_id = LeaseId(int=1)

    def people(fresh: FreshMessage) -> tuple[str, ...]:
        return threads.letter_of(lease_id, fresh, FakeClock().now()).people

    assert people(base) == ("ada@shop.example",)
    assert people(msgspec.structs.replace(base, direction="outbound")) == ("bob@else.example", "carl@x.example")


async def test_a_long_chain_costs_ten_notes_and_still_meets_at_its_root(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    chain = " ".join(f"<{number}@shop.example>" for number in range(100))
    found = await put(post, agent, lease["address"], {"subject": "a", "references": chain, "From": BOB})
    noted = "SELECT count(*) FROM thread_references WHERE lease_id = $1"
    assert await kit_mail.value(post.house, noted, LeaseId.parse(lease["lease_id"])) == 10
    root = {"subject": "b", "message_id": "<0@shop.example>", "From": ADA}
    near = {"subject": "c", "in_reply_to": "<99@shop.example>", "From": ADA}
    assert await put(post, agent, lease["address"], root, near) == found * 2
