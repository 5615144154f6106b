"""Waiting for mail: at once, across processes, without Redis, missing nothing, and who gets nothing more."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from leasebox.config import Settings
from leasebox.live import http as waiting_http
from leasebox.mail import parse_worker, service
from leasebox.mail.store import claim_mails
from leasebox.values.clock import Clock
from leasebox.values.ids import LeaseId, MailboxId, MessageId
from tests import kit_mail
from tests.kit import BASE_URL, Agent, House, opened, settings_for
from tests.kit_mail import Post, code_mail, mail, messages_of

shared_house = kit_mail.shared_house
post = kit_mail.shared_post
ROUTE = "/v2/messages/wait"
LINK_MAIL = mail("Verify", "Confirm your address: https://shop.example/verify?token=Zx81kQ0aTT9b")


async def wait(http: httpx.AsyncClient, lease: dict[str, Any], **query: Any) -> httpx.Response:
    return await http.get(ROUTE, params={"mailbox_id": lease["mailbox_id"], "timeout_s": 10, **query})


@contextlib.asynccontextmanager
async def elsewhere(agent: Agent, settings: Settings, clock: Clock) -> AsyncIterator[tuple[Agent, House]]:
    """Another process, and the agent as its caller with the same session."""
    token = {"authorization": agent.http.headers["authorization"]}
    async with opened(settings, clock) as other, other.client(headers=token) as http:
        yield Agent(http, agent.wallet, agent.session), other


async def begun(agent: Agent, house: House, lease: dict[str, Any], **query: Any) -> "asyncio.Task[httpx.Response]":
    """A wait that stands listening."""
    before = len(house.hub._waiters.get(f"mailbox {lease['mailbox_id']}", ()))
    task = asyncio.create_task(wait(agent.http, lease, **query))
    await kit_mail.heeded(house, lease["mailbox_id"], before + 1, unless=task)
    return task


async def test_the_answer_comes_with_the_mail(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    await kit_mail.listens(post.house)
    took = []
    for number in range(7):
        waiting = await begun(agent, post.house, lease)
        reply = await post.send(code_mail(number), lease["address"])
        sent = time.monotonic()
        answer = await waiting
        took.append(time.monotonic() - sent)
        assert (answer.status_code, answer.json()["otp_code"]) == (200, f"4812{number:02}")
        assert reply.endswith(answer.json()["message_id"])
        assert set(answer.json()) == set((await messages_of(agent))[0])
    assert statistics.median(took) < 0.1, took


async def test_nothing_in_time_is_204(post: Post) -> None:
    agent = await post.house.agent()
    lease, other = await agent.lease(), await agent.lease()
    await post.deliver(code_mail(1), lease["address"])
    started = time.monotonic()
    waiting = await begun(agent, post.house, lease, timeout_s=1)
    await post.send(code_mail(2), other["address"])
    answer = await waiting
    assert (answer.status_code, answer.content) == (204, b"")
    assert 0.9 < time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"has": "otp"}, "Your code"),
        ({"has": "link"}, "Verify"),
        ({"has": "any"}, "plain"),
        ({"from": "shop.example"}, "plain"),
        ({"from": "eve@other.example"}, "from eve"),
        ({"from": "other.example"}, "from eve"),
        ({"subject": "VERIFY"}, "Verify"),
        ({"subject": "your", "has": "otp"}, "Your code"),
    ],
)
async def test_a_wait_is_for_what_fits(post: Post, query: dict[str, str], expected: str) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    waiting = await begun(agent, post.house, lease, **query)
    raws = (mail("plain"), mail("from eve", From="Eve <eve@other.example>"), LINK_MAIL, code_mail(1))
    for raw in raws:
        await post.deliver(raw, lease["address"])
    answer = await waiting
    assert (answer.status_code, answer.json()["subject"]) == (200, expected)
    since = "2026-01-01T00:00:00Z"
    assert (await wait(agent.http, lease, since=since, **query)).json()["subject"] == expected


async def test_walking_by_the_last_message_seen_misses_nothing(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    begin = post.house.clock.now().isoformat()
    replies = await asyncio.gather(*(post.send(code_mail(number), lease["address"]) for number in range(12)))
    assert {reply[:3] for reply in replies} == {"250"}
    seen: list[str] = []
    since = begin
    for _ in range(12):
        message = (await wait(agent.http, lease, since=since)).json()
        since = message["message_id"]
        seen.append(message["otp_code"])
    assert sorted(seen) == [f"4812{number:02}" for number in range(12)]
    assert (await wait(agent.http, lease, since=since, timeout_s=1)).status_code == 204


async def test_what_becomes_visible_out_of_order_is_not_missed(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    async with kit_mail.accepting(house) as post:
        first = (await post.send(mail("first"), lease["address"])).split()[-1]
        second = (await post.send(mail("second"), lease["address"])).split()[-1]
    assert first < second
    now = house.clock.now()
    claimed = await house.db.transact(lambda tx: claim_mails(tx, now, 10, 0, 2**30))
    pending = {str(each.recipients[0].message_id): each for each in claimed}

    async def publish(message_id: str) -> None:
        reading = parse_worker.read(pending[message_id].raw)
        fresh = service.fresh_message(reading.mail, reading.extraction, service.CHECKING)
        assert await house.db.transact(lambda tx: service.publish(tx, pending[message_id], fresh, now))

    await publish(second)
    assert (await wait(agent.http, lease, since="2026-01-01T00:00:00Z")).json()["message_id"] == second
    waiting = await begun(agent, house, lease, since=second)
    await publish(first)
    assert (await waiting).json()["message_id"] == first
    assert (await wait(agent.http, lease, since=first, timeout_s=1)).status_code == 204


async def test_a_reader_whose_last_message_is_gone_begins_anew(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    await post.deliver(code_mail(1), lease["address"])
    (message_id,) = await post.deliver(code_mail(2), lease["address"])
    await agent.http.delete(f"/v2/messages/{message_id}")
    answer = await wait(agent.http, lease, since=message_id)
    assert (answer.status_code, answer.json()["otp_code"]) == (200, "481201")
    unknown = await wait(agent.http, lease, since=str(MessageId.new(post.house.clock.now())))
    assert unknown.json()["otp_code"] == "481201"


async def test_a_mail_in_one_process_answers_a_wait_in_another(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_http, "_LOOK_AGAIN_S", 60.0)  # it must be told
    agent = await post.house.agent()
    lease = await agent.lease()
    async with elsewhere(agent, post.house.settings, post.house.clock) as (caller, other):
        await kit_mail.listens(other)
        waiting = await begun(caller, other, lease)
        await post.send(code_mail(3), lease["address"])
        answer = await waiting
    assert (answer.status_code, answer.json()["otp_code"]) == (200, "481203")


async def test_without_redis_a_wait_looks_by_itself(post: Post, tmp_path: Path) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    assert post.house.settings.database_url is not None
    url = post.house.settings.database_url.reveal()
    settings = settings_for(url, f"unix://{tmp_path}/nobody", str(tmp_path))
    async with elsewhere(agent, settings, post.house.clock) as (caller, other):
        waiting = await begun(caller, other, lease)
        await post.send(code_mail(4), lease["address"])
        sent = time.monotonic()
        answer = await waiting
    assert (answer.status_code, answer.json()["otp_code"]) == (200, "481204")
    assert time.monotonic() - sent < 4


async def test_an_ended_lease_is_410_and_gives_what_it_has_first(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    lease = await agent.lease(ttl_hours=1)
    (message_id,) = await post.deliver(code_mail(5), lease["address"])
    waiting = await begun(agent, house, lease)
    released = await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/release")
    assert released.status_code == 202
    answer = await waiting
    assert (answer.status_code, answer.json()["error"], answer.json()["lease_status"]) == (
        410,
        "lease_ended",
        "released",
    )
    assert (await wait(agent.http, lease, since="2026-01-01T00:00:00Z")).json()["message_id"] == message_id
    assert (await wait(agent.http, lease, since=message_id)).status_code == 410


async def test_a_lease_that_runs_out_ends_the_wait_by_the_clock(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease(ttl_hours=1)
    post.house.clock.advance(minutes=30)
    agent = await post.house.agent(agent.wallet)
    waiting = await begun(agent, post.house, lease)
    post.house.clock.advance(minutes=31)
    answer = await waiting
    assert (answer.status_code, answer.json()["lease_status"]) == (410, "expired")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("UPDATE leases SET state = 'paused' WHERE id = $1", "mailbox_paused"),
        ("UPDATE leases SET frozen_at = started_at WHERE id = $1", "mailbox_frozen"),
    ],
)
async def test_a_mailbox_that_is_closed_meanwhile_ends_the_wait(post: Post, change: str, error: str) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    waiting = await begun(agent, post.house, lease)
    await kit_mail.change(post.house, change, LeaseId.parse(lease["lease_id"]))
    for answer in (await waiting, await wait(agent.http, lease)):
        assert (answer.status_code, answer.json()["error"]) == (403, error)


async def test_who_signs_out_while_waiting_gets_nothing_more(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    again = await house.agent(agent.wallet)
    lease = await agent.lease()
    async with elsewhere(agent, house.settings, house.clock) as (caller, other):
        waiting = await begun(caller, other, lease)
        assert (await agent.http.delete("/v2/auth/session")).status_code == 204
        house.clock.advance(seconds=1)
        await post.deliver(code_mail(6), lease["address"])
        answer = await waiting
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
    assert [each["otp_code"] for each in await messages_of(again)] == ["481206"]


async def test_a_process_that_ends_answers_at_once(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    async with elsewhere(agent, post.house.settings, post.house.clock) as (caller, other):
        waiting = await begun(caller, other, lease, timeout_s=60)
        other.hub.close()
        async with asyncio.timeout(5):
            assert (await waiting).status_code == 204


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"timeout_s": "0"}, 400),
        ({"timeout_s": "61"}, 400),
        ({"timeout_s": "x"}, 400),
        ({"has": "code"}, 400),
        ({"from": ""}, 400),
        ({"from": "x" * 321}, 400),
        ({"from": "\x00"}, 400),
        ({"subject": "\x00"}, 400),
        ({"subject": ""}, 400),
        ({"since": "yesterday"}, 400),
        ({"since": "2026-11-20T10:00:00"}, 400),
        ({"since": "0001-01-01T00:00:00+14:00"}, 400),
        ({"since": "msg_x"}, 404),
        ({"mailbox_id": "mbx_x"}, 404),
        ({"mailbox_id": ""}, 404),
    ],
)
async def test_questions_that_are_none(post: Post, query: dict[str, str], status: int) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    answer = await agent.http.get(ROUTE, params={"mailbox_id": lease["mailbox_id"], "timeout_s": "1", **query})
    assert answer.status_code == status, answer.text
    assert answer.json()["fix"]


async def test_a_mailbox_must_be_named(shared_house: House) -> None:
    answer = await (await shared_house.agent()).http.get(ROUTE, params={"timeout_s": 1})
    assert answer.status_code == 400
    assert "mailbox_id" in answer.text


async def test_mailboxes_of_others_look_like_none(post: Post) -> None:
    agent, other = await post.house.agent(), await post.house.agent()
    lease, own = await agent.lease(), await agent.lease()
    key = {"name": "k", "scopes": ["mail:read"], "mailbox_ids": [own["mailbox_id"]]}
    limited = (await agent.http.post("/v2/api-keys", json=key)).json()["api_key"]
    nobody = {"mailbox_id": str(MailboxId.new(post.house.clock.now()))}
    async with post.house.client(headers={"authorization": f"Bearer {limited}"}) as http:
        answers = [await wait(other.http, lease), await wait(other.http, nobody), await wait(http, lease)]
        assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(404, "not_found")}
        await post.deliver(code_mail(7), own["address"])
        assert (await wait(http, own, since="2026-01-01T00:00:00Z")).status_code == 200


async def test_without_a_credential_nobody_waits(shared_house: House) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(shared_house.app), base_url=BASE_URL) as http:
        assert (await http.get(ROUTE, params={"mailbox_id": "mbx_x"})).status_code == 401
