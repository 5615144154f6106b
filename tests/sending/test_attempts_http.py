"""Attempts as they are shown: lists with filters and pages, and every reply of every server."""

from datetime import timedelta

import pytest

from tests.kit import House
from tests.kit_mail import change, shared_house
from tests.sending.writing_desk import ELSEWHERE, Writer, attempt_id

__all__ = ["shared_house"]


@pytest.fixture
async def ann(shared_house: House) -> Writer:
    return await Writer.new(shared_house)


async def test_a_list_is_newest_first_and_goes_on_where_it_ended(ann: Writer) -> None:
    told = [(await ann.send())["send_attempt_id"] for _ in range(5)]
    first = (await ann.http.get("/v2/send-attempts", params={"limit": 3})).json()
    second = (await ann.http.get("/v2/send-attempts", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    shown = [each["send_attempt_id"] for each in (*first["items"], *second["items"])]
    assert (shown, second["next_cursor"]) == (told[::-1], None)
    assert first["items"][0]["recipient_count"] == 1


async def test_it_is_narrowed_by_mailbox_and_state(ann: Writer) -> None:
    other = Writer(ann.house, ann.http, await ann.agent.lease(), ann.agent)
    one, two = await ann.send(), await other.send()
    await ann.http.post(f"/v2/send-attempts/{one['send_attempt_id']}/cancel")
    for query, wanted in (
        ({"mailbox_id": ann.box}, [one]),
        ({"mailbox_id": other.box}, [two]),
        ({"state": "cancelled"}, [one]),
        ({"state": "queued"}, [two]),
        ({"state": "sent"}, []),
        ({"state": "queued", "mailbox_id": ann.box}, []),
    ):
        found = (await ann.http.get("/v2/send-attempts", params=query)).json()["items"]
        assert [each["send_attempt_id"] for each in found] == [each["send_attempt_id"] for each in wanted]
    odd = await ann.http.get("/v2/send-attempts", params={"state": "odd"})
    assert (odd.status_code, [each["path"] for each in odd.json()["errors"]]) == (400, ["query.state"])
    assert (await ann.http.get("/v2/send-attempts/rubbish")).status_code == 404


async def test_a_key_sees_the_attempts_of_its_mailboxes(ann: Writer) -> None:
    other = Writer(ann.house, ann.http, await ann.agent.lease(), ann.agent)
    one, two = await ann.send(), await other.send()
    order = {"name": "one", "scopes": ["mail:read", "mail:send"], "mailbox_ids": [ann.box]}
    key = (await ann.http.post("/v2/api-keys", json=order)).json()["api_key"]
    async with ann.house.client({"authorization": f"Bearer {key}"}) as http:
        found = (await http.get("/v2/send-attempts")).json()["items"]
        assert [each["send_attempt_id"] for each in found] == [one["send_attempt_id"]]
        for path in (f"/{two['send_attempt_id']}", f"?mailbox_id={other.box}"):
            assert (await http.get(f"/v2/send-attempts{path}")).status_code == 404
        assert (await http.post(f"/v2/send-attempts/{two['send_attempt_id']}/cancel")).status_code == 404


async def test_every_try_and_every_reply_is_shown(ann: Writer) -> None:
    told = await ann.send([ELSEWHERE, "b@other.example"], cc="c@other.example")
    began = ann.house.clock.now()
    said = [{"command": "RCPT TO", "code": 450, "text": "4.2.1 later"}, {"command": "QUIT", "code": None, "text": ""}]
    await change(
        ann.house,
        "INSERT INTO send_tries VALUES ($1, 'other.example', 1, $2, $3, 'mx.other.example [192.0.2.7]', $5, $4)",
        attempt_id(told),
        began,
        began + timedelta(seconds=2),
        said,
        "deferred",
    )
    view = await ann.attempt(told)
    assert [(each["address"], each["kind"]) for each in view["recipients"]] == [
        (ELSEWHERE, "to"),
        ("b@other.example", "to"),
        ("c@other.example", "cc"),
    ]
    first, second = view["hops"]
    assert (first["destination"], first["tries"]) == ("elsewhere.example", [])
    (one,) = second["tries"]
    assert (one["number"], one["outcome"], one["remote"]) == (1, "deferred", "mx.other.example [192.0.2.7]")
    assert one["replies"] == said
    assert view["header_message_id"].endswith("@inbox.leasebox.test>") and view["sender"] == ann.address
