"""The event stream and the event list: order, replay, filters, who may hear what, and when it ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from leasebox.infra.facts_log import Fact, append
from leasebox.live import events_http
from leasebox.values.facts import INVOICE_ISSUED, LEASE_RELEASED, MESSAGE_RECEIVED, OTP_EXTRACTED, USAGE_DENIED
from leasebox.values.ids import EventId, LeaseId, MailboxId, TenantId
from tests import kit_mail
from tests.kit import Agent, House, opened
from tests.kit_mail import Post, code_mail, until
from tests.live.readers import ROUTE, bearer, happen, publishing, reading

shared_house = kit_mail.shared_house
LOG = "/v2/events/log"
BEGINNING = "evt_00000000000000000000000000"


@pytest.fixture(scope="module")
async def house(shared_house: House) -> AsyncIterator[House]:
    async with publishing(shared_house):
        yield shared_house


@pytest.fixture(scope="module")
async def post(house: House) -> AsyncIterator[Post]:
    async with kit_mail.receiving(house) as one:
        yield one


async def told(house: House, agent: Agent, count: int) -> list[dict[str, Any]]:
    """Wait until so many events are in the list; all of them, oldest first."""
    items: list[dict[str, Any]] = []

    async def there() -> bool:
        answer = await agent.http.get(LOG, params={"after": BEGINNING, "limit": 100})
        assert answer.status_code == 200, answer.text
        items[:] = answer.json()["items"]
        return len(items) >= count

    await until(there)
    return items


async def limited_key(agent: Agent, *mailboxes: str, scopes: tuple[str, ...] = ("mail:read",)) -> dict[str, str]:
    order = {"name": "limited", "scopes": list(scopes), **({"mailbox_ids": list(mailboxes)} if mailboxes else {})}
    made: dict[str, str] = (await agent.http.post("/v2/api-keys", json=order)).json()
    return made


async def test_a_mail_is_told_at_once_with_its_code(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    await kit_mail.listens(post.house)
    async with reading(post.house, bearer(agent)) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        (message_id,) = await post.deliver(code_mail(1), lease["address"])
        await stream.has(2)
        first, second = stream.events
        assert [first["type"], second["type"]] == ["message.received", "otp.extracted"]
        assert first["data"]["message_id"] == message_id
        assert (first["mailbox_id"], first["lease_id"]) == (lease["mailbox_id"], lease["lease_id"])
        assert first["tenant_id"] == agent.session["tenant_id"]
        assert [each.get("event") for each in stream.blocks if "data" in each] == ["message.received", "otp.extracted"]
        assert [each["id"] for each in stream.blocks if "data" in each] == [first["event_id"], second["event_id"]]


async def test_a_stream_begins_now_and_can_be_taken_up_before_anything_came(house: House) -> None:
    agent = await house.agent()
    await happen(house, agent, "before")
    await told(house, agent, 1)
    async with reading(house, bearer(agent)) as stream:
        begins = stream.last_id
        assert stream.events == []
    await happen(house, agent, "between")
    async with reading(house, bearer(agent), last_event_id=begins) as again:
        assert await again.has(1) == ["between"]


async def test_where_nothing_has_ever_happened_the_beginning_is_the_place(house: House) -> None:
    agent = await house.agent()
    async with reading(house, bearer(agent)) as stream:
        assert stream.last_id == BEGINNING
    await happen(house, agent, "1", "2")
    async with reading(house, bearer(agent), last_event_id=BEGINNING) as again:
        assert await again.has(2) == ["1", "2"]


@pytest.mark.parametrize("how", ["header", "query"])
async def test_reconnecting_after_each_event_loses_and_repeats_nothing(house: House, how: str) -> None:
    agent = await house.agent()
    place, heard = BEGINNING, []
    writing = asyncio.create_task(happen(house, agent, *[str(index) for index in range(20)]))
    while len(heard) < 20:
        query, headers = ([("last_event_id", place)], {}) if how == "query" else ([], {"last_event_id": place})
        async with reading(house, bearer(agent), query, **headers) as stream:
            await stream.has(1)
            heard += stream.names
            place = stream.last_id
    await writing
    assert heard == [str(index) for index in range(20)]


async def test_a_long_past_is_replayed_in_order_and_goes_over_into_the_present(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    tenant, now = TenantId.parse(agent.session["tenant_id"]), house.clock.now()
    many = [Fact(tenant, None, None, MESSAGE_RECEIVED, {"name": str(number)}, now) for number in range(1, 1801)]
    await house.db.transact(lambda tx: append(tx, many))
    await happen(house, other, "theirs")
    async with reading(house, bearer(agent), last_event_id=BEGINNING) as stream:
        await stream.has(1800)
        await happen(house, agent, "now")
        assert await stream.has(1801) == [*map(str, range(1, 1801)), "now"]


async def test_all_readers_of_a_tenant_get_everything_once(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    async with asyncio.TaskGroup() as group:

        async def listen() -> None:
            async with reading(house, bearer(agent)) as stream:
                await ready.put(1)
                names = await stream.has(60)
                assert names == [str(index) for index in range(60)]

        ready: asyncio.Queue[int] = asyncio.Queue()
        for _ in range(12):
            group.create_task(listen())
        for _ in range(12):
            await ready.get()
        await happen(house, other, "theirs")
        await happen(house, agent, *[str(index) for index in range(60)])


async def test_two_processes_tell_the_same(house: House) -> None:
    agent = await house.agent()
    async with (
        opened(house.settings, house.clock) as elsewhere,
        reading(house, bearer(agent)) as here,
        reading(elsewhere, bearer(agent)) as there,
    ):
        await happen(house, agent, *"abcde")
        assert await here.has(5) == await there.has(5) == list("abcde")


async def test_without_a_wake_up_events_come_within_a_second_or_two(house: House) -> None:
    agent = await house.agent()
    async with reading(house, bearer(agent)) as stream:
        tenant = TenantId.parse(agent.session["tenant_id"])
        silently = """INSERT INTO facts (id, tenant_id, type, payload, at)
            VALUES (gen_random_uuid(), $1, 'message.received', '{"name": "quiet"}', $2)"""
        await kit_mail.change(house, silently, tenant, house.clock.now())
        assert await stream.has(1) == ["quiet"]


async def test_filters_by_type_and_mailbox(house: House) -> None:
    agent = await house.agent()
    first, second = await agent.lease(), await agent.lease()
    types = [("types", OTP_EXTRACTED), ("types", INVOICE_ISSUED)]
    boxes = [("mailbox_id", second["mailbox_id"])]
    async with (
        reading(house, bearer(agent)) as everything,
        reading(house, bearer(agent), types) as some,
        reading(house, bearer(agent), boxes) as one_box,
        reading(house, bearer(agent), [*boxes, *types]) as both,
    ):
        await happen(house, agent, "a", mailbox=first["mailbox_id"])
        await happen(house, agent, "denied", type_=USAGE_DENIED)
        await happen(house, agent, "b", mailbox=second["mailbox_id"])
        await happen(house, agent, "c", type_=OTP_EXTRACTED, mailbox=first["mailbox_id"])
        await happen(house, agent, "d", type_=OTP_EXTRACTED, mailbox=second["mailbox_id"])
        await happen(house, agent, "e", type_=INVOICE_ISSUED)
        assert await everything.has(5) == list("abcde")
        assert await some.has(3) == list("cde")
        assert await one_box.has(2) == list("bd")
        assert await both.has(1) == ["d"]


async def test_a_key_limited_to_mailboxes_hears_of_these_only(house: House) -> None:
    agent = await house.agent()
    own, other = await agent.lease(), await agent.lease()
    key = await limited_key(agent, own["mailbox_id"])
    token = f"Bearer {key['api_key']}"
    async with reading(house, token) as stream, reading(house, bearer(agent)) as everything:
        await happen(house, agent, "other", mailbox=other["mailbox_id"])
        await happen(house, agent, "nowhere", type_=INVOICE_ISSUED)
        await happen(house, agent, "own", mailbox=own["mailbox_id"])
        assert await stream.has(1) == ["own"]
        await everything.has(3)
        foreign = everything.events[0]["event_id"]
    async with house.client(headers={"authorization": token}) as http:
        for params in ({"last_event_id": foreign}, {"mailbox_id": other["mailbox_id"]}):
            answer = await http.get(ROUTE, params={"timeout_s": 0, **params})
            assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
        listed = (await http.get(LOG)).json()["items"]
        assert [each["data"]["name"] for each in listed] == ["own"]
        assert (await http.get(LOG, params={"after": foreign})).status_code == 404


async def test_a_limited_keys_stream_that_broke_before_its_first_event_misses_nothing(house: House) -> None:
    agent = await house.agent()
    own, other = await agent.lease(), await agent.lease()
    token = f"Bearer {(await limited_key(agent, own['mailbox_id']))['api_key']}"
    known: list[str] = []
    for before in ([], ["own"]):
        await happen(house, agent, "other", mailbox=other["mailbox_id"])
        await happen(house, agent, *before, mailbox=own["mailbox_id"])
        known += ["other", *before]
        events = await told(house, agent, len(known))
        async with reading(house, token) as stream:
            place = stream.last_id
        assert stream.events == []
        assert place not in {each["event_id"] for each in events if each["mailbox_id"] != own["mailbox_id"]}
        await happen(house, agent, "between", mailbox=own["mailbox_id"])
        known += ["between"]
        async with reading(house, token, last_event_id=place) as again:
            assert await again.has(1) == ["between"]
        async with house.client(headers={"authorization": token}) as http:
            listed = (await http.get(LOG, params={"after": place})).json()["items"]
            assert [each["data"]["name"] for each in listed] == ["between"]


async def test_a_mailbox_that_is_paused_or_frozen_cannot_be_asked_for(house: House) -> None:
    agent = await house.agent()
    lease, other = await agent.lease(), await agent.lease()
    lease_id = LeaseId.parse(lease["lease_id"])
    boxes = [other["mailbox_id"], lease["mailbox_id"]]

    async def answers() -> list[tuple[int, str | None]]:
        found = []
        for path, params in ((ROUTE, {"timeout_s": 0}), (LOG, {}), ("/v2/threads", {})):
            named = {"mailbox_id": lease["mailbox_id"] if path == "/v2/threads" else boxes, **params}
            answer = await agent.http.get(path, params=named)
            found.append((answer.status_code, answer.json()["error"] if answer.status_code != 200 else None))
        assert (await agent.http.get(LOG, params={"mailbox_id": other["mailbox_id"]})).status_code == 200
        assert (await agent.http.get(ROUTE, params={"timeout_s": 0})).status_code == 200
        return found

    assert await answers() == [(200, None)] * 3
    await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/pause")
    assert await answers() == [(403, "mailbox_paused")] * 3
    await kit_mail.change(house, "UPDATE leases SET frozen_at = $2 WHERE id = $1", lease_id, house.clock.now())
    assert await answers() == [(403, "mailbox_frozen")] * 3
    await kit_mail.change(house, "UPDATE leases SET frozen_at = NULL WHERE id = $1", lease_id)
    await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/resume")
    assert await answers() == [(200, None)] * 3


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"last_event_id": "evt_x"}, 404),
        ({"last_event_id": ""}, 404),
        ({"last_event_id": "msg_01h2xcejqtf2nbrexx3vqjhp41"}, 404),
        ({"last_event_id": str(EventId(int=77))}, 404),
        ({"mailbox_id": "mbx_x"}, 404),
        ({"mailbox_id": str(MailboxId(int=77))}, 404),
        ({"types": "message.lost"}, 400),
        ({"types": USAGE_DENIED}, 400),
        ({"timeout_s": "-1"}, 400),
        ({"timeout_s": "3601"}, 400),
        ({"timeout_s": "x"}, 400),
    ],
)
async def test_streams_that_are_none(house: House, query: dict[str, str], status: int) -> None:
    answer = await (await house.agent()).http.get(ROUTE, params={"timeout_s": "0", **query})
    assert answer.status_code == status, answer.text
    assert answer.json()["fix"]


async def test_events_of_another_tenant_are_no_place_to_begin(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    await happen(house, other, "theirs")
    theirs = (await told(house, other, 1))[0]["event_id"]
    for path, name in ((ROUTE, "last_event_id"), (LOG, "after")):
        answer = await agent.http.get(path, params={name: theirs})
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
        assert "/v2/events/log" in answer.json()["fix"]


async def test_who_lacks_the_scope_or_a_credential_hears_nothing(house: House) -> None:
    agent = await house.agent()
    key = await limited_key(agent, scopes=("mail:send",))
    async with house.client(headers={"authorization": f"Bearer {key['api_key']}"}) as http:
        for path in (ROUTE, LOG):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()["error"]) == (403, "missing_scope")
    async with house.client() as http:
        for path in (ROUTE, LOG):
            assert (await http.get(path)).status_code == 401


async def test_who_signs_out_is_cut_off_in_every_process(house: House) -> None:
    agent = await house.agent()
    async with opened(house.settings, house.clock) as elsewhere, reading(elsewhere, bearer(agent)) as stream:
        began = time.monotonic()
        await agent.http.delete("/v2/auth/session")
        house.clock.advance(seconds=1)  # the other process believes a token for a moment
        await stream.over()
        assert time.monotonic() - began < 5
        assert stream.closed is not None
        assert (stream.closed["error"], stream.closed["status"]) == ("unauthorized", 401)
        assert stream.closed["fix"]


async def test_a_revoked_key_is_cut_off(house: House) -> None:
    agent = await house.agent()
    key = await limited_key(agent)
    async with reading(house, f"Bearer {key['api_key']}") as stream:
        assert (await agent.http.delete(f"/v2/api-keys/{key['api_key_id']}")).status_code == 204
        house.clock.advance(seconds=1)
        await stream.over()
        assert stream.closed is not None
        assert stream.closed["error"] == "unauthorized"


async def test_a_suspended_tenant_is_cut_off(house: House) -> None:
    agent = await house.agent()
    async with reading(house, bearer(agent)) as stream:
        tenant = TenantId.parse(agent.session["tenant_id"])
        await kit_mail.change(house, "UPDATE tenants SET status = 'suspended' WHERE id = $1", tenant)
        house.clock.advance(seconds=1)
        await stream.over()
        assert stream.closed is not None
        assert (stream.closed["error"], stream.closed["status"]) == ("tenant_inactive", 403)


async def test_a_stream_of_mailboxes_ends_once_all_their_leases_have(house: House) -> None:
    agent = await house.agent()
    first, second = await agent.lease(), await agent.lease()
    query = [("mailbox_id", each["mailbox_id"]) for each in (first, second)]
    only_mail = [*query, ("types", OTP_EXTRACTED)]
    async with (
        reading(house, bearer(agent), query) as stream,
        reading(house, bearer(agent), only_mail) as filtered,
        reading(house, bearer(agent)) as unfiltered,
    ):
        await agent.http.post(f"/v2/mailboxes/leases/{first['lease_id']}/release")
        await stream.has(1)
        await asyncio.sleep(1.5)
        assert not stream.is_over
        await agent.http.post(f"/v2/mailboxes/leases/{second['lease_id']}/release")
        for each in (stream, filtered):
            await each.over()
            assert each.closed is not None
            assert (each.closed["error"], each.closed["status"]) == ("lease_ended", 410)
        assert stream.names == [LEASE_RELEASED, LEASE_RELEASED]
        assert [each["lease_id"] for each in stream.events] == [first["lease_id"], second["lease_id"]]
        assert filtered.events == []
        assert not unfiltered.is_over
    async with reading(house, bearer(agent), query, last_event_id=stream.events[0]["event_id"]) as again:
        assert (await again.over()).names == [LEASE_RELEASED]
    house.clock.advance(minutes=2)
    gone = await agent.http.get(ROUTE, params=query)
    assert (gone.status_code, gone.json()["error"]) == (410, "lease_ended")
    there = {"mailbox_id": first["mailbox_id"], "last_event_id": BEGINNING, "timeout_s": "5"}
    assert "lease.released" in (await agent.http.get(ROUTE, params=there)).text


async def test_a_process_that_ends_closes_its_streams_at_once(house: House) -> None:
    agent = await house.agent()
    async with opened(house.settings, house.clock) as elsewhere, reading(elsewhere, bearer(agent)) as stream:
        elsewhere.hub.close()
        async with asyncio.timeout(10):
            await stream.over()
        assert stream.closed is not None
        assert stream.closed["reason"] == "closing"


async def test_a_comment_comes_while_nothing_happens(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_http, "_HEARTBEAT_S", 0.5)
    agent = await house.agent()
    async with reading(house, bearer(agent), [("timeout_s", "3")]) as stream:
        await stream.over()
    assert b"\n: still here\n\n" in stream.body
    assert stream.closed is None


async def test_a_stream_with_a_time_ends_by_it(house: House) -> None:
    agent = await house.agent()
    await happen(house, agent, "1", "2")
    await told(house, agent, 2)
    began = time.monotonic()
    answer = await agent.http.get(ROUTE, params={"timeout_s": 0, "last_event_id": BEGINNING})
    assert answer.text.count("\nevent: message.received\n") == 2
    assert (await agent.http.get(ROUTE, params={"timeout_s": 1})).status_code == 200
    assert time.monotonic() - began < 5


async def test_a_reader_who_stands_still_is_cut_off_and_goes_on_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leasebox.infra.web.streaming.PATIENCE_S", 0.3)
    agent = await house.agent()
    async with reading(house, bearer(agent)) as stream, reading(house, bearer(agent)) as healthy:
        await happen(house, agent, "1")
        await stream.has(1)
        stream.stalled.clear()
        await happen(house, agent, "2", "3")
        await stream.over()
        assert stream.names == ["1"]
        assert await healthy.has(3) == ["1", "2", "3"]
    async with reading(house, bearer(agent), last_event_id=stream.last_id) as again:
        assert await again.has(2) == ["2", "3"]


async def test_a_tenant_has_only_so_many_streams(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasebox.live.stream.MOST_STREAMS", 2)
    agent, other = await house.agent(), await house.agent()
    async with reading(house, bearer(agent)), reading(house, bearer(agent)) as second:
        refused = await agent.http.get(ROUTE, params={"timeout_s": 0})
        assert (refused.status_code, refused.json()["error"]) == (429, "rate_limited")
        assert refused.headers["retry-after"]
        assert (await other.http.get(ROUTE, params={"timeout_s": 0})).status_code == 200
        await second.leave()
        assert (await agent.http.get(ROUTE, params={"timeout_s": 0})).status_code == 200


async def test_readers_who_left_leave_nothing_behind(house: House) -> None:
    agent = await house.agent()
    key = f"facts {agent.session['tenant_id']}"
    async with reading(house, bearer(agent)) as stream:
        await happen(house, agent, "1")
        await stream.has(1)
        assert key in house.hub._waiters

    async def gone() -> bool:
        return key not in house.hub._waiters

    await until(gone)


async def test_the_list_is_newest_first_and_after_an_event_oldest_first(house: House) -> None:
    agent = await house.agent()
    await happen(house, agent, *[str(index) for index in range(7)])
    everything = await told(house, agent, 7)

    async def walk(**params: Any) -> list[str]:
        names: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await agent.http.get(LOG, params={"limit": 3, **params, **cursor})).json()
            names += [each["data"]["name"] for each in page["items"]]
            if page["next_cursor"] is None:
                return names
            cursor = {"cursor": page["next_cursor"]}

    assert await walk() == list("6543210")
    assert await walk(after=BEGINNING) == list("0123456")
    assert await walk(after=everything[3]["event_id"]) == list("456")
    assert await walk(after=everything[6]["event_id"]) == []


async def test_pages_stay_stable_while_events_are_added(house: House) -> None:
    agent = await house.agent()
    await happen(house, agent, *"abc")
    await told(house, agent, 3)
    first = (await agent.http.get(LOG, params={"limit": 2})).json()
    onwards = (await agent.http.get(LOG, params={"limit": 2, "after": BEGINNING})).json()
    await happen(house, agent, *"de")
    await told(house, agent, 5)

    async def names(cursor: str) -> list[str]:
        page = (await agent.http.get(LOG, params={"limit": 5, "cursor": cursor})).json()
        return [each["data"]["name"] for each in page["items"]]

    assert await names(first["next_cursor"]) == ["a"]
    assert await names(onwards["next_cursor"]) == ["c", "d", "e"]


async def test_the_list_is_filtered_as_the_stream_is(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    await happen(house, agent, "a", mailbox=lease["mailbox_id"])
    await happen(house, agent, "b", type_=INVOICE_ISSUED)
    await happen(house, agent, "denied", type_=USAGE_DENIED)
    await happen(house, agent, "c", type_=OTP_EXTRACTED, mailbox=lease["mailbox_id"])
    await told(house, agent, 3)

    async def names(*params: tuple[str, str]) -> list[str]:
        return [each["data"]["name"] for each in (await agent.http.get(LOG, params=params)).json()["items"]]

    assert await names() == ["c", "b", "a"]
    assert await names(("mailbox_id", lease["mailbox_id"])) == ["c", "a"]
    assert await names(("types", INVOICE_ISSUED), ("types", OTP_EXTRACTED)) == ["c", "b"]
    assert await names(("types", INVOICE_ISSUED), ("mailbox_id", lease["mailbox_id"])) == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"cursor": "x"}, 400),
        ({"cursor": "A" * 12}, 400),
        ({"cursor": "Yf________99"}, 400),
        ({"limit": "0"}, 400),
        ({"limit": "101"}, 400),
        ({"types": "x"}, 400),
        ({"after": "evt_x"}, 404),
        ({"mailbox_id": "x"}, 404),
        ({"mailbox_id": str(MailboxId(int=77))}, 404),
    ],
)
async def test_lists_that_are_none(house: House, query: dict[str, str], status: int) -> None:
    answer = await (await house.agent()).http.get(LOG, params=query)
    assert answer.status_code == status, answer.text
    assert answer.json()["fix"]


async def test_events_of_an_erased_mailbox_can_still_be_read(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    await agent.http.delete(f"/v2/mailboxes/accounts/{lease['account_id']}")
    await told(house, agent, 1)
    answer = await agent.http.get(LOG, params={"mailbox_id": lease["mailbox_id"]})
    assert [each["type"] for each in answer.json()["items"]] == [LEASE_RELEASED]
    assert answer.json()["items"][0]["lease_id"] == str(LeaseId.parse(lease["lease_id"]))
