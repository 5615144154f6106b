"""House mail as admins read it: listed, as text, as a download; by owners and operators only."""

from collections.abc import AsyncIterator

import httpx
import pytest

from leasebox.values.ids import MessageId
from tests.admin.desk import admin, said
from tests.kit import House
from tests.kit_mail import Post, mail
from tests.sending.returns import complaint, taking_back

PATH = "/v2/admin/house-mail"


@pytest.fixture
async def post(run: House) -> AsyncIterator[Post]:
    async with taking_back(run) as one:
        yield one


async def sent(post: Post, raw: bytes, *to: str) -> str:
    reply = await post.send(raw, *to, sender="Stranger@far.example")
    assert reply.startswith("250"), reply
    await post.parsed()
    return reply.split()[-1]


async def test_a_strangers_mail(post: Post, owner: httpx.AsyncClient) -> None:
    raw = mail("You have spam", "It came from\nyou.")
    mail_id = await sent(post, raw, "abuse@inbox.leasebox.test", "postmaster@inbox.leasebox.test")
    (shown,) = [each for each in (await said(await owner.get(PATH)))["items"] if each["mail_id"] == mail_id]
    assert shown["subject"] == "You have spam"
    assert (shown["purpose"], shown["sender"]) == ("house", "Shop <no-reply@shop.example>")
    assert shown["addressed_to"] == ["abuse@inbox.leasebox.test", "postmaster@inbox.leasebox.test"]
    assert (shown["envelope_sender"], shown["client_address"]) == ("Stranger@far.example", "127.0.0.1")
    whole = await said(await owner.get(f"{PATH}/{mail_id}"))
    assert whole == {**shown, "text": whole["text"]}
    assert whole["text"].split() == ["It", "came", "from", "you."]
    answer = await owner.get(f"{PATH}/{mail_id}/raw")
    assert answer.content.endswith(raw)
    assert len(answer.content) == shown["size_bytes"]
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"].startswith("message/rfc822")


async def test_complaints_apart_and_page_by_page(post: Post, owner: httpx.AsyncClient) -> None:
    ids = [await sent(post, complaint("a@far.example"), "complaints@inbox.leasebox.test") for _ in range(3)]
    await sent(post, mail(), "abuse@inbox.leasebox.test")
    first = await said(await owner.get(PATH, params={"purpose": "complaint", "limit": 2}))
    rest = await said(await owner.get(PATH, params={"purpose": "complaint", "cursor": first["next_cursor"]}))
    assert [each["mail_id"] for each in first["items"] + rest["items"]][:3] == ids[::-1]
    assert {each["purpose"] for each in first["items"] + rest["items"]} == {"complaint"}
    assert (await owner.get(PATH, params={"purpose": "lease"})).status_code == 400


async def test_tenants_mail_is_not_there(post: Post, owner: httpx.AsyncClient) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    message_id = (await post.deliver(mail("Private"), lease["address"]))[0]
    mail_id = await post.house.db.read(
        lambda tx: tx.value("SELECT mail_id FROM messages WHERE id = $1", MessageId.parse(message_id))
    )
    for wanted in (message_id, str(MessageId.of(mail_id)), "msg_x", str(MessageId.new(post.house.clock.now()))):
        for path in (f"{PATH}/{wanted}", f"{PATH}/{wanted}/raw"):
            assert (await owner.get(path)).status_code == 404
    assert "Private" not in (await owner.get(PATH)).text


@pytest.mark.parametrize("role", ["auditor", "viewer"])
async def test_who_only_looks_on_does_not_read_it(run: House, role: str) -> None:
    http = await admin(run, role)
    answer = await http.get(PATH)
    assert (answer.status_code, answer.json()["right"]) == (403, "steer")
