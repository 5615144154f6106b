"""The WebSocket: who is let in and how, what it tells, how it is asked, and why it ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from leasebox.identity.model import Caller
from leasebox.infra.web.sockets import MOST_CHARS
from leasebox.live import socket_http
from leasebox.live.stream import Streams
from leasebox.values.errors import Unavailable
from leasebox.values.facts import INVOICE_ISSUED, LEASE_RELEASED, OTP_EXTRACTED, PUBLIC
from leasebox.values.ids import EventId, MailboxId, TenantId
from tests import kit_mail
from tests.kit import Agent, House, opened
from tests.kit_mail import until
from tests.live.readers import bearer, connected, happen, publishing, reading
from tests.live.test_events_http import BEGINNING, LOG, limited_key, told

shared_house = kit_mail.shared_house


@pytest.fixture(scope="module")
async def house(shared_house: House) -> AsyncIterator[House]:
    async with publishing(shared_house):
        yield shared_house


async def test_a_bearer_in_the_header_and_a_subscription_are_enough(house: House) -> None:
    agent = await house.agent()
    await happen(house, agent, "before")
    before = (await told(house, agent, 1))[0]["event_id"]
    async with connected(house, authorization=bearer(agent)) as socket:
        assert (await socket.hears("authenticated"))["authenticated"]["tenant_id"] == agent.session["tenant_id"]
        socket.say({"subscribe": {}})
        answer = (await socket.hears("subscribed"))["subscribed"]
        assert answer == {"mailbox_ids": None, "types": None, "last_event_id": before}
        await happen(house, agent, "1", "2")
        assert await socket.has(2) == ["1", "2"]


async def test_messages_are_the_same_as_on_the_other_doors(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    async with (
        connected(house, authorization=bearer(agent)) as socket,
        reading(house, bearer(agent), last_event_id=BEGINNING) as stream,
    ):
        socket.say({"subscribe": {"last_event_id": BEGINNING}})
        await happen(house, agent, "1", mailbox=lease["mailbox_id"])
        await socket.has(1)
        await stream.has(1)
        listed = (await agent.http.get(LOG)).json()["items"]
        assert [each for each in socket.heard if "event_id" in each] == stream.events == listed


async def test_a_browser_signs_in_with_its_first_message(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    agent = await house.agent()
    async with connected(house) as socket:
        socket.say({"authenticate": {"token": agent.session["access_token"]}})
        assert (await socket.hears("authenticated"))["authenticated"]["expires_at"].endswith("Z")
        socket.say({"subscribe": {"last_event_id": BEGINNING}})
        await socket.hears("subscribed")
        await happen(house, agent, "1")
        assert await socket.has(1) == ["1"]
    said = ""
    async with asyncio.timeout(10):
        while "status=101" not in said:  # its line is written when the server has noticed the end
            await asyncio.sleep(0.01)
            said += capsys.readouterr().out
    assert agent.session["access_token"] not in said


async def test_resuming_after_each_event_loses_and_repeats_nothing(house: House) -> None:
    agent = await house.agent()
    place, heard = BEGINNING, []
    writing = asyncio.create_task(happen(house, agent, *[str(index) for index in range(12)]))
    while len(heard) < 12:
        async with connected(house, authorization=bearer(agent)) as socket:
            socket.say({"subscribe": {"last_event_id": place}})
            await socket.has(1)
            heard += socket.names
            place = socket.last_id
    await writing
    assert heard == [str(index) for index in range(12)]


async def test_filters_and_changing_them_without_loss_or_repeat(house: House) -> None:
    agent = await house.agent()
    first, second = await agent.lease(), await agent.lease()
    async with connected(house, authorization=bearer(agent)) as socket:
        socket.say({"subscribe": {"mailbox_ids": [first["mailbox_id"]], "types": [OTP_EXTRACTED]}})
        await socket.hears("subscribed")
        await happen(house, agent, "no", mailbox=first["mailbox_id"])
        await happen(house, agent, "no", type_=OTP_EXTRACTED, mailbox=second["mailbox_id"])
        await happen(house, agent, "a", type_=OTP_EXTRACTED, mailbox=first["mailbox_id"])
        assert await socket.has(1) == ["a"]
        for each in range(5):
            socket.say({"subscribe": {"types": list(PUBLIC)}})
            await happen(house, agent, f"b{each}", type_=INVOICE_ISSUED)
        assert await socket.has(6) == ["a", "b0", "b1", "b2", "b3", "b4"]
        socket.say({"subscribe": {"mailbox_ids": [second["mailbox_id"]], "last_event_id": BEGINNING}})
        assert (await socket.has(7))[-1] == "no"


async def test_pings_are_answered_and_pongs_taken(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_http, "_HEARTBEAT_S", 0.5)
    agent = await house.agent()
    async with connected(house, authorization=bearer(agent)) as socket:
        socket.say({"ping": 7})
        assert await socket.hears("pong") == {"pong": 7}
        socket.say({"ping": None})
        socket.say({"subscribe": {}})
        assert (await socket.hears("ping"))["ping"].endswith("Z")
        socket.say({"pong": "2026"})
        socket.say({"ping": {"a": [1]}})

        async def echoed() -> bool:
            return {"pong": {"a": [1]}} in socket.heard

        await until(echoed)
        assert {"pong": None} in socket.heard


@pytest.mark.parametrize(
    ("message", "code", "error"),
    [
        ("not json", 4400, "bad_request"),
        ("[]", 4400, "bad_request"),
        ("{}", 4400, "bad_request"),
        ('{"hello": 1}', 4400, "bad_request"),
        ('{"subscribe": null}', 4400, "bad_request"),
        ('{"subscribe": 1}', 4400, "bad_request"),
        ('{"subscribe": {}, "ping": 1}', 4400, "bad_request"),
        ('{"subscribe": {"mailboxes": []}}', 4400, "bad_request"),
        ('{"subscribe": {"types": ["message.lost"]}}', 4400, "bad_request"),
        ('{"subscribe": {"types": ["usage.denied"]}}', 4400, "bad_request"),
        ('{"subscribe": {"types": "message.received"}}', 4400, "bad_request"),
        ('{"subscribe": {"mailbox_ids": []}}', 4400, "bad_request"),
        ('{"subscribe": {"types": []}}', 4400, "bad_request"),
        ('{"subscribe": {"mailbox_ids": ["mbx_x"]}}', 4404, "not_found"),
        (f'{{"subscribe": {{"mailbox_ids": ["{MailboxId(int=77)}"]}}}}', 4404, "not_found"),
        ('{"subscribe": {"last_event_id": "evt_x"}}', 4404, "not_found"),
        (f'{{"subscribe": {{"last_event_id": "{EventId(int=77)}"}}}}', 4404, "not_found"),
        ('{"authenticate": {"token": "x"}}', 4400, "bad_request"),
        ('{"ping": "%s"}' % ("x" * MOST_CHARS), 4413, "too_large"),
        ('{"ping": "\\u0000"}', 4400, "bad_request"),
        ("[" * 10_000, 4400, "bad_request"),
    ],
    ids=lambda each: str(each)[:48] if isinstance(each, str) else str(each),
)
async def test_messages_that_are_none(house: House, message: str, code: int, error: str) -> None:
    agent = await house.agent()
    async with connected(house, authorization=bearer(agent)) as socket:
        await socket.hears("authenticated")
        socket.say(message)
        assert await socket.over() == code
        refused = await socket.hears("error")
        assert (refused["error"], refused["status"]) == (error, code - 4000)
        assert refused["fix"]
        assert refused["request_id"]


async def test_binary_messages_are_refused(house: House) -> None:
    agent = await house.agent()
    async with connected(house, authorization=bearer(agent)) as socket:
        socket.say_bytes(b'{"subscribe": {}}')
        assert await socket.over() == 4400
        assert "text" in (await socket.hears("error"))["fix"]


@pytest.mark.parametrize("header", ["Bearer lb_nobody", "Bearer x", "Basic abc", ""])
async def test_a_credential_that_is_none_is_refused(house: House, header: str) -> None:
    async with connected(house, authorization=header) as socket:
        assert await socket.over() == 4401
        assert (await socket.hears("error"))["error"] == "unauthorized"


async def test_nothing_but_signing_in_is_heard_from_a_stranger(house: House) -> None:
    for message in ({"subscribe": {}}, {"ping": 1}):
        async with connected(house) as socket:
            socket.say(message)
            assert await socket.over() == 4401
            assert "authenticate" in (await socket.hears("error"))["fix"]
    async with connected(house) as socket:
        socket.say({"authenticate": {"token": "lb_nobody"}})
        assert await socket.over() == 4401


async def test_a_key_without_the_scope_is_refused(house: House) -> None:
    agent = await house.agent()
    key = await limited_key(agent, scopes=("mail:send",))
    async with connected(house) as socket:
        socket.say({"authenticate": {"token": key["api_key"]}})
        assert await socket.over() == 4403
        assert (await socket.hears("error"))["error"] == "missing_scope"


async def test_who_says_nothing_is_sent_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_http, "_PATIENCE_S", 0.2)
    agent = await house.agent()
    for headers in ({}, {"authorization": bearer(agent)}):
        async with connected(house, **headers) as socket:
            assert await socket.over() == 4400
            assert (await socket.hears("error"))["reason"] == "nothing_asked"


async def test_mailboxes_and_events_of_others_look_like_none(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    own, theirs = await agent.lease(), await other.lease()
    await happen(house, other, "theirs")
    foreign = (await told(house, other, 1))[0]["event_id"]
    key = await limited_key(agent, own["mailbox_id"])
    second = await agent.lease()
    cases: list[tuple[str, dict[str, Any]]] = [
        (bearer(agent), {"mailbox_ids": [theirs["mailbox_id"]]}),
        (bearer(agent), {"mailbox_ids": [own["mailbox_id"], theirs["mailbox_id"]]}),
        (bearer(agent), {"last_event_id": foreign}),
        (f"Bearer {key['api_key']}", {"mailbox_ids": [second["mailbox_id"]]}),
    ]
    for token, wish in cases:
        async with connected(house, authorization=token) as socket:
            socket.say({"subscribe": wish})
            assert await socket.over() == 4404
    async with connected(house, authorization=f"Bearer {key['api_key']}") as socket:
        socket.say({"subscribe": {}})
        place = (await socket.hears("subscribed"))["subscribed"]["last_event_id"]
        await happen(house, agent, "second", mailbox=second["mailbox_id"])
        await happen(house, agent, "own", mailbox=own["mailbox_id"])
        assert await socket.has(1) == ["own"]
    async with connected(house, authorization=f"Bearer {key['api_key']}") as again:
        again.say({"subscribe": {"last_event_id": place}})
        assert await again.has(1) == ["own"]


async def test_a_mailbox_that_is_paused_cannot_be_subscribed_to(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/pause")
    async with connected(house, authorization=bearer(agent)) as socket:
        socket.say({"subscribe": {"mailbox_ids": [lease["mailbox_id"]]}})
        assert await socket.over() == 4403
        assert (await socket.hears("error"))["error"] == "mailbox_paused"


async def revoked(house: House, agent: Agent, key: dict[str, str]) -> None:
    assert (await agent.http.delete(f"/v2/api-keys/{key['api_key_id']}")).status_code == 204
    house.clock.advance(seconds=1)  # what the process remembers of it is too old now


@pytest.mark.parametrize("message", [{"subscribe": {}}, {"ping": 1}, {"pong": 1}], ids=["subscribe", "ping", "pong"])
async def test_whatever_is_said_with_a_revoked_credential_ends_it(
    house: House, message: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stream that is begun anew and anew comes to no check of its own; nor does who pings come to the silent one's.
    monkeypatch.setattr("leasebox.live.stream._CHECK_S", 3600)
    monkeypatch.setattr(socket_http, "_CHECK_S", 3600)
    monkeypatch.setattr(socket_http, "_PATIENCE_S", 3600)
    agent = await house.agent()
    key = await limited_key(agent)
    async with connected(house, authorization=f"Bearer {key['api_key']}") as socket:
        await socket.hears("authenticated")
        if "subscribe" in message:
            socket.say(message)
            await socket.hears("subscribed")
        await revoked(house, agent, key)
        await happen(house, agent, "secret")
        said = len(socket.heard)
        socket.say(message)
        assert await socket.over() == 4401
        assert not [each for each in socket.heard[said:] if "subscribed" in each or "pong" in each]


async def test_who_waits_with_a_revoked_credential_is_sent_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_http, "_CHECK_S", 0.05)
    monkeypatch.setattr(socket_http, "_PATIENCE_S", 3600)
    agent = await house.agent()
    key = await limited_key(agent)
    async with connected(house, authorization=f"Bearer {key['api_key']}") as socket:
        await socket.hears("authenticated")
        await revoked(house, agent, key)
        assert await socket.over() == 4401
        assert (await socket.hears("error"))["error"] == "unauthorized"


async def test_who_waits_while_the_database_is_away_stays(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_http, "_CHECK_S", 0.05)
    asked = 0

    async def away(streams: Streams, authorization: str | None) -> Caller:
        del streams, authorization
        nonlocal asked
        asked += 1
        raise Unavailable("away", retry_after_s=1)

    async def looked() -> bool:
        return asked >= 2

    monkeypatch.setattr(Streams, "still", away)
    agent = await house.agent()
    async with connected(house, authorization=bearer(agent)) as socket:
        await until(looked)
        socket.say({"ping": 1})
        assert await socket.hears("pong") == {"pong": 1}


async def test_who_signs_out_or_is_suspended_is_cut_off(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    async with (
        opened(house.settings, house.clock) as elsewhere,
        connected(elsewhere, authorization=bearer(agent)) as first,
        connected(elsewhere, authorization=bearer(other)) as second,
    ):
        first.say({"subscribe": {}})
        second.say({"subscribe": {}})
        await first.hears("subscribed")
        await second.hears("subscribed")
        began = time.monotonic()
        await agent.http.delete("/v2/auth/session")
        tenant = TenantId.parse(other.session["tenant_id"])
        await kit_mail.change(house, "UPDATE tenants SET status = 'suspended' WHERE id = $1", tenant)
        house.clock.advance(seconds=1)
        assert await first.over() == 4401
        assert await second.over() == 4403
        assert time.monotonic() - began < 5


async def test_it_ends_once_the_leases_have(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    async with connected(house, authorization=bearer(agent)) as socket:
        socket.say({"subscribe": {"mailbox_ids": [lease["mailbox_id"]]}})
        await socket.hears("subscribed")
        await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/release")
        assert await socket.over() == 4410
        assert socket.names == [LEASE_RELEASED]
        assert (await socket.hears("error"))["error"] == "lease_ended"


async def test_a_process_that_ends_says_so(house: House) -> None:
    agent = await house.agent()
    async with (
        opened(house.settings, house.clock) as elsewhere,
        connected(elsewhere, authorization=bearer(agent)) as subscribed,
        connected(elsewhere, authorization=bearer(agent)) as waiting,
        connected(elsewhere) as stranger,
    ):
        subscribed.say({"subscribe": {}})
        await subscribed.hears("subscribed")
        await waiting.hears("authenticated")
        elsewhere.hub.close()
        async with asyncio.timeout(10):
            for socket in (subscribed, waiting, stranger):
                assert await socket.over() == 1012
                assert (await socket.hears("error"))["reason"] == "closing"


async def test_a_reader_who_stands_still_is_cut_off_and_goes_on_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leasebox.infra.web.sockets.PATIENCE_S", 0.3)
    agent = await house.agent()
    async with connected(house, authorization=bearer(agent)) as socket:
        socket.say({"subscribe": {}})
        await socket.hears("subscribed")
        await happen(house, agent, "1")
        await socket.has(1)
        socket.stalled.clear()
        await happen(house, agent, "2", "3")
        async with asyncio.timeout(5):
            await asyncio.wait([socket._task])
        last = socket.last_id
    async with connected(house, authorization=bearer(agent)) as again:
        again.say({"subscribe": {"last_event_id": last}})
        assert await again.has(2) == ["2", "3"]


async def test_a_tenant_has_only_so_many_streams(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasebox.live.stream.MOST_STREAMS", 1)
    agent = await house.agent()
    async with reading(house, bearer(agent)), connected(house, authorization=bearer(agent)) as socket:
        await happen(house, agent, "1")
        socket.say({"subscribe": {}})
        assert await socket.over() == 4429


async def test_who_has_signed_in_counts_as_a_stream(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasebox.live.stream.MOST_STREAMS", 2)
    agent, other = await house.agent(), await house.agent()
    async with connected(house, authorization=bearer(agent)) as first:
        await first.hears("authenticated")
        async with connected(house, authorization=bearer(agent)) as second, connected(house) as stranger:
            await second.hears("authenticated")
            stranger.say({"authenticate": {"token": agent.session["access_token"]}})
            assert await stranger.over() == 4429
            assert (await stranger.hears("error"))["error"] == "rate_limited"
            for _ in range(3):  # a subscription counts in its socket's stead
                first.say({"subscribe": {}})
            await happen(house, agent, "1")
            assert await first.has(1) == ["1"]
            assert (await agent.http.get("/v2/events", params={"timeout_s": 0})).status_code == 429
            async with connected(house, authorization=bearer(other)) as third:
                await third.hears("authenticated")
        assert (await agent.http.get("/v2/events", params={"timeout_s": 0})).status_code == 200
    async with reading(house, bearer(agent)), reading(house, bearer(agent)) as last:
        assert last.status == 200


async def test_paths_that_are_none_are_closed(house: House) -> None:
    from tests.live.readers import Socket

    agent = await house.agent()
    for path in ("/v2/events/ws/", "/v2/events/WS", "/v2/events/none", "/v2/messages"):
        socket = Socket(house.app, {"authorization": bearer(agent)}, path)
        assert await socket.over() in (1008, 4404, 4500), path
