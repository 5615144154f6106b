"""Reading over the routes: lists, one message, raw bytes, attachments, labels, deleting, and who may not."""

import base64
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from leasebox.mail.http import download
from leasebox.values.ids import LeaseId, MailboxId, MessageId, ThreadId
from tests import kit_mail
from tests.kit import Agent, House
from tests.kit_mail import Post, code_mail, mail, messages_of

shared_house = kit_mail.shared_house
post = kit_mail.shared_post
LIST = "/v2/messages"

HOSTILE = {
    "path": "../../etc/passwd",
    "quotes": 'a"; filename=evil.exe; x="b.txt',
    "line": "a\r\nSet-Cookie: x=1\r\n\r\n<script>.txt",
    "right-to-left": "invoice\u202egpj.exe",
    "accents": "Rechnung März €5 – 発注書.pdf",
    "percent": "100%25 %0d%0a.txt",
    "nul": "a\x00b.txt",
    "long": "x" * 5_000 + ".pdf",
    "empty": "",
}


def with_attachment(filename: str, content: bytes) -> bytes:
    """A mail with one attachment whose name is written as RFC 2047 has it, which hides any octet."""
    word = "=?utf-8?b?" + base64.b64encode(filename.encode()).decode() + "?="
    name = "\r\n ".join(re.findall(".{1,900}", word)) if len(word) > 900 else word
    body = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return (
        b"From: a@x.example\r\nSubject: files\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/plain\r\n\r\nsee attachment\r\n--b\r\nContent-Type: text/html\r\n"
        + f'Content-Disposition: attachment;\r\n filename="{name}"\r\n'.encode()
        + b"Content-Transfer-Encoding: base64\r\n\r\n"
        + body
        + b"--b--\r\n"
    )


async def read(agent: Agent, message_id: str) -> dict[str, Any]:
    answer = await agent.http.get(f"{LIST}/{message_id}")
    assert answer.status_code == 200, answer.text
    message: dict[str, Any] = answer.json()
    return message


async def act(agent: Agent, lease: dict[str, Any], verb: str) -> None:
    answer = await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/{verb}")
    assert answer.status_code < 300, answer.text


async def limited_key(agent: Agent, lease: dict[str, Any]) -> str:
    order = {"name": "k", "scopes": ["mail:read"], "mailbox_ids": [lease["mailbox_id"]]}
    return str((await agent.http.post("/v2/api-keys", json=order)).json()["api_key"])


async def every_look(http: httpx.AsyncClient, message: dict[str, Any]) -> list[httpx.Response]:
    """One call of each route that looks at or changes this message; deleting it comes last."""
    path = f"{LIST}/{message['message_id']}"
    return [
        await http.get(path),
        await http.get(f"{path}/raw"),
        await http.get(f"{path}/attachments/att_2"),
        await http.patch(path, json={"add_labels": ["x"]}),
        await http.delete(path),
    ]


async def test_the_list_is_narrowed_by_every_criterion(post: Post) -> None:
    agent, house = await post.house.agent(), post.house
    first, second = await agent.lease(), await agent.lease()
    (code,) = await post.deliver(code_mail(1), first["address"])
    house.clock.advance(minutes=10)
    middle = house.clock.now().isoformat().replace("+00:00", "Z")
    house.clock.advance(minutes=10)
    agent = await house.agent(agent.wallet)
    (plain,) = await post.deliver(mail("Newsletter", "Kettles are cheap today."), second["address"])
    thread = (await read(agent, code))["thread_id"]

    async def listed(**query: Any) -> list[str]:
        return [each["message_id"] for each in await messages_of(agent, **query)]

    assert await listed() == [plain, code]
    assert await listed(mailbox_id=first["mailbox_id"]) == [code]
    assert await listed(since=middle) == [plain]
    assert await listed(until=middle) == [code]
    assert await listed(since=middle, until=middle) == []
    assert await listed(q="kettles") == [plain]
    assert await listed(label="unread") == [plain, code]
    assert await listed(label="unknown") == []
    assert await listed(thread_id=thread) == [code]
    assert await listed(direction="inbound") == [plain, code]
    assert await listed(direction="outbound") == []
    assert await listed(mailbox_id=first["mailbox_id"], q="kettles") == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("since=yesterday", 400),
        ("since=2026-11-20T10:00:00", 400),
        ("since=0001-01-01T00:00:00%2B14:00", 400),
        ("until=9999-12-31T23:59:59-14:00", 400),
        ("until=5", 400),
        ("q=", 400),
        ("q=%00", 400),
        ("q=" + "x" * 201, 400),
        ("label=%00", 400),
        ("direction=sideways", 400),
        ("limit=0", 400),
        ("limit=101", 400),
        ("cursor=x", 400),
        ("cursor=" + "A" * 22, 200),
        ("q=%FF%FE", 200),
        ("label=%FF", 200),
        ("mailbox_id=mbx_x", 404),
        ("thread_id=msg_01m7w9s6jsez7rc7q1chr6pa14", 404),
    ],
)
async def test_queries_and_what_is_none(shared_house: House, query: str, status: int) -> None:
    agent = await shared_house.agent()
    answer = await agent.http.get(f"{LIST}?{query}")
    assert answer.status_code == status, answer.text


async def test_pages_are_stable_while_mail_comes_in(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    ids = [(await post.deliver(code_mail(number), lease["address"]))[0] for number in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    for number in range(3):
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await agent.http.get(LIST, params=params)).json()
        seen += [each["message_id"] for each in page["items"]]
        cursor = page["next_cursor"]
        await post.deliver(code_mail(50 + number), lease["address"])
    assert cursor is None
    assert seen == ids[::-1]


async def test_one_message_as_a_whole(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    raw = mail(
        "Verify", "Your code is 773311.\nConfirm: https://shop.example/verify?token=Zx81kQ0aTT9b", cc="c@x.example"
    )
    (message_id,) = await post.deliver(raw, lease["address"], sender="bounces@shop.example")
    message = await read(agent, message_id)
    (listed,) = await messages_of(agent)
    assert {name: message[name] for name in listed} == listed
    assert (message["lease_id"], message["mailbox_id"]) == (lease["lease_id"], lease["mailbox_id"])
    assert (message["envelope_sender"], message["sender"]) == ("bounces@shop.example", "no-reply@shop.example")
    assert message["otp_code"] == "773311"
    assert message["verification_link"] == "https://shop.example/verify?token=Zx81kQ0aTT9b"
    assert message["labels"] == ["received", "unread"]
    assert message["received_at"].endswith("Z")
    assert message["cc"] == [{"name": "", "address": "c@x.example"}]
    assert [each["name"] for each in message["headers"][:2]] == ["Return-Path", "Received"]
    (link,) = message["extraction"]["links"]
    assert link["host_matches_sender"] is True


@pytest.mark.parametrize(
    "raw",
    [
        mail("dots", ".\n..\n.leading\ntrailing."),
        mail("empty", ""),
        b"\r\n",
        b"no header at all\r\n",
        b"Subject: eight bit\r\n\r\n\xff\xfe\x80 caf\xe9\r\n",
        b"Subject: tabs\r\n\t folded\r\nX: \x01\x02\r\n\r\n" + b"\x7f" * 50 + b"\r\n",
        b"Subject: long lines\r\n\r\n" + b"x" * 60_000 + b"\r\n",
        b"Subject: end\r\n\r\n\r\n\r\n\r\n",
    ],
)
async def test_raw_is_byte_for_byte_what_was_sent(post: Post, raw: bytes) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    (message_id,) = await post.deliver(raw, lease["address"])
    answer = await agent.http.get(f"{LIST}/{message_id}/raw")
    assert answer.status_code == 200
    trace = answer.content.removesuffix(raw)
    assert answer.content == trace + raw
    assert re.fullmatch(rb"Return-Path: <sender@shop\.example>\r\nReceived: from [^\r]+\r\n(?:\t[^\r]+\r\n)+", trace)
    assert answer.headers["content-type"] == "message/rfc822"
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{message_id}.eml"')
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await read(agent, message_id))["size_bytes"] == len(answer.content)


async def test_all_mails_that_others_collected_arrive_and_come_back(post: Post) -> None:
    paths = list(kit_mail.vector_mails())
    if not paths:
        pytest.skip("the vectors are absent")
    agent = await post.house.agent()
    lease = await agent.lease()
    sent: dict[str, bytes] = {}
    for path in paths:
        raw = on_the_wire(path)
        reply = await post.send(raw, lease["address"])
        assert reply.startswith("250"), (path.name, reply)
        sent[re.findall(r"msg_\w+", reply)[0]] = raw
    await post.parsed()
    seen = await messages_of(agent)
    assert {each["message_id"] for each in seen} == set(sent)
    for message_id, raw in sent.items():
        answer = await agent.http.get(f"{LIST}/{message_id}/raw")
        assert answer.content.endswith(raw)
        assert answer.content[: -len(raw)].startswith(b"Return-Path: ")
        message = await read(agent, message_id)
        assert message["parsed_status"] in ("parsed", "none")
        for attachment in message["attachments"]:
            content = await agent.http.get(f"{LIST}/{message_id}/attachments/{attachment['attachment_id']}")
            assert (content.status_code, len(content.content)) == (200, attachment["size_bytes"])


def on_the_wire(path: Path) -> bytes:
    """A mail as SMTP carries it: every line ends with CRLF, the last one too."""
    raw = re.sub(rb"\r\n|\r|\n", b"\r\n", path.read_bytes())
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


@pytest.mark.parametrize("name", HOSTILE)
async def test_attachments_always_download(post: Post, name: str) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    content = b"<script>alert(1)</script>\x00\xff"
    (message_id,) = await post.deliver(with_attachment(HOSTILE[name], content), lease["address"])
    (attachment,) = (await read(agent, message_id))["attachments"]
    answer = await agent.http.get(f"{LIST}/{message_id}/attachments/{attachment['attachment_id']}")
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers
    disposition = answer.headers["content-disposition"]
    assert re.fullmatch(r"attachment; filename=\"[^\"\\\r\n]*\"; filename\*=UTF-8''[A-Za-z0-9%_.~-]*", disposition)
    shown = attachment["filename"]
    assert len(shown.encode()) <= 210
    assert not set("/\\\r\n\x00\u202e") & set(shown)


@pytest.mark.parametrize(
    ("filename", "disposition"),
    [
        ("a.pdf", "attachment; filename=\"a.pdf\"; filename*=UTF-8''a.pdf"),
        ('a"b\\c', "attachment; filename=\"a_b_c\"; filename*=UTF-8''a%22b%5Cc"),
        ("a\r\nb", "attachment; filename=\"a__b\"; filename*=UTF-8''a%0D%0Ab"),
        ("é", "attachment; filename=\"_\"; filename*=UTF-8''%C3%A9"),
        ("", "attachment; filename=\"\"; filename*=UTF-8''"),
    ],
)
def test_a_file_name_cannot_leave_its_header(filename: str, disposition: str) -> None:
    assert download(b"x", "application/octet-stream", filename).headers["content-disposition"] == disposition


async def test_attachments_that_are_none_are_404(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    (message_id,) = await post.deliver(with_attachment("a.txt", b"x"), lease["address"])
    (real,) = (await read(agent, message_id))["attachments"]
    index = real["attachment_id"].removeprefix("att_")
    for wrong in (
        "att_",
        "att_0",
        "att_99",
        "att_1",
        index,
        "att_x",
        f"ATT_{index}",
        f"att_{index}.1",
        "att_%00",
        "att_é",
    ):
        answer = await agent.http.get(f"{LIST}/{message_id}/attachments/{wrong}")
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found"), wrong


async def test_labels_come_and_go(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    (message_id,) = await post.deliver(mail(), lease["address"])
    path = f"{LIST}/{message_id}"
    answer = await agent.http.patch(path, json={"add_labels": ["done", "a.b:c-d_e"], "remove_labels": ["unread"]})
    assert (answer.status_code, answer.json()["labels"]) == (200, ["a.b:c-d_e", "done", "received"])
    again = await agent.http.patch(path, json={"add_labels": ["done"], "remove_labels": ["never-there"]})
    assert again.json()["labels"] == ["a.b:c-d_e", "done", "received"]
    both = await agent.http.patch(path, json={"add_labels": ["x"], "remove_labels": ["x", "done"]})
    assert both.json()["labels"] == ["a.b:c-d_e", "received"]
    assert (await agent.http.patch(path, json={})).json()["labels"] == ["a.b:c-d_e", "received"]
    assert (await messages_of(agent))[0]["labels"] == ["a.b:c-d_e", "received"]


@pytest.mark.parametrize(
    "body",
    [
        {"add_labels": [""]},
        {"add_labels": ["Upper"]},
        {"add_labels": ["a b"]},
        {"add_labels": ["x" * 51]},
        {"add_labels": ["x"] * 21},
        {"add_labels": "x"},
        {"labels": ["x"]},
    ],
)
async def test_labels_that_are_none(post: Post, body: dict[str, Any]) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    (message_id,) = await post.deliver(mail(), lease["address"])
    assert (await agent.http.patch(f"{LIST}/{message_id}", json=body)).status_code == 400


async def test_a_message_has_room_for_a_hundred_labels(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    (message_id,) = await post.deliver(mail(), lease["address"])
    path = f"{LIST}/{message_id}"
    for start in range(0, 80, 20):
        labels = [f"label-{number}" for number in range(start, start + 20)]
        assert (await agent.http.patch(path, json={"add_labels": labels})).status_code == 200
    assert (await agent.http.patch(path, json={"add_labels": [f"x{n}" for n in range(18)]})).status_code == 200
    full = await agent.http.patch(path, json={"add_labels": ["one-more"]})
    assert (full.status_code, full.json()["error"]) == (422, "unprocessable")
    assert len((await read(agent, message_id))["labels"]) == 100


async def test_deleting_gives_the_room_back(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    (message_id,) = await post.deliver(code_mail(1), lease["address"])
    used = (await agent.http.get(f"/v2/mailboxes/leases/{lease['lease_id']}")).json()
    assert used["used_messages"] == 1
    assert used["used_bytes"] == (await read(agent, message_id))["size_bytes"]
    answers = await kit_mail.statuses([agent.http.delete(f"{LIST}/{message_id}") for _ in range(5)])
    assert answers == [204, 404, 404, 404, 404]
    used = (await agent.http.get(f"/v2/mailboxes/leases/{lease['lease_id']}")).json()
    assert (used["used_messages"], used["used_bytes"]) == (0, 0)
    assert await messages_of(agent) == []
    rows = await kit_mail.rows(post.house, "SELECT action, actor FROM audit_rows WHERE resource = $1", message_id)
    assert [(row["action"], row["actor"]) for row in rows] == [("message.delete", agent.agent_id)]


async def test_a_mail_goes_with_its_last_message(post: Post) -> None:
    agent, other = await post.house.agent(), await post.house.agent()
    mine, theirs = await agent.lease(), await other.lease()
    ids = await post.deliver(mail("held by two"), mine["address"], theirs["address"])
    stored = "SELECT count(*) FROM mails WHERE position('held by two'::bytea IN content) > 0"
    assert (await agent.http.delete(f"{LIST}/{ids[0]}")).status_code == 204
    assert await kit_mail.value(post.house, stored) == 1
    assert (await other.http.get(f"{LIST}/{ids[1]}/raw")).status_code == 200
    assert (await other.http.delete(f"{LIST}/{ids[1]}")).status_code == 204
    assert await kit_mail.value(post.house, stored) == 0


async def test_a_paused_mailbox_shows_nothing_until_it_is_resumed(post: Post) -> None:
    agent = await post.house.agent()
    lease, open_one = await agent.lease(), await agent.lease()
    await post.deliver(with_attachment("a.txt", b"x"), lease["address"])
    await post.deliver(mail("open"), open_one["address"])
    message = next(each for each in await messages_of(agent) if each["lease_id"] == lease["lease_id"])
    await act(agent, lease, "pause")
    answers = [
        *await every_look(agent.http, message),
        await agent.http.get(LIST, params={"mailbox_id": lease["mailbox_id"]}),
    ]
    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(403, "mailbox_paused")}
    assert [each["subject"] for each in await messages_of(agent)] == ["open"]
    await act(agent, lease, "resume")
    assert len(await messages_of(agent)) == 2


async def test_a_frozen_mailbox_shows_nothing_even_when_it_has_ended(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease(ttl_hours=1)
    await post.deliver(with_attachment("a.txt", b"x"), lease["address"])
    (message,) = await messages_of(agent)
    frozen = "UPDATE leases SET frozen_at = started_at WHERE id = $1"
    await kit_mail.change(post.house, frozen, LeaseId.parse(lease["lease_id"]))
    for _ in range(2):
        listing = await agent.http.get(LIST, params={"mailbox_id": lease["mailbox_id"]})
        answers = [*await every_look(agent.http, message), listing]
        assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(403, "mailbox_frozen")}
        assert await messages_of(agent) == []
        post.house.clock.advance(hours=1)
        agent = await post.house.agent(agent.wallet)


async def test_an_ended_lease_is_readable_for_seventy_two_hours_by_the_clock(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    lease = await agent.lease(ttl_hours=1)
    await post.deliver(with_attachment("a.txt", b"x"), lease["address"])
    (message,) = await messages_of(agent)
    house.clock.advance(hours=72, minutes=59)
    agent = await house.agent(agent.wallet)
    answers = await every_look(agent.http, message)
    assert [answer.status_code for answer in answers[:4]] == [200] * 4
    assert answers[4].status_code == 204
    await post.deliver(mail("next"), (await agent.lease())["address"])
    lease = await agent.lease(ttl_hours=1)
    await post.deliver(with_attachment("b.txt", b"x"), lease["address"])
    message, _ = await messages_of(agent)
    await act(agent, lease, "release")
    house.clock.advance(hours=72)
    agent = await house.agent(agent.wallet)
    answers = await every_look(agent.http, message)
    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(404, "not_found")}
    assert await messages_of(agent, mailbox_id=lease["mailbox_id"]) == []


async def test_a_key_limited_to_one_mailbox_sees_only_that(post: Post) -> None:
    agent = await post.house.agent()
    mine, other = await agent.lease(), await agent.lease()
    await post.deliver(with_attachment("a.txt", b"x"), mine["address"])
    await post.deliver(with_attachment("b.txt", b"x"), other["address"])
    hidden = next(each for each in await messages_of(agent) if each["mailbox_id"] == other["mailbox_id"])
    async with post.house.client(headers={"authorization": f"Bearer {await limited_key(agent, mine)}"}) as http:
        items = (await http.get(LIST)).json()["items"]
        assert [each["mailbox_id"] for each in items] == [mine["mailbox_id"]]
        answers = [*await every_look(http, hidden), await http.get(LIST, params={"mailbox_id": other["mailbox_id"]})]
        assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(404, "not_found")}
        assert (await http.get(LIST, params={"thread_id": hidden["thread_id"]})).json()["items"] == []
    assert len(await messages_of(agent)) == 2


async def test_messages_of_another_tenant_look_like_none(post: Post) -> None:
    agent, other = await post.house.agent(), await post.house.agent()
    lease = await agent.lease()
    await post.deliver(with_attachment("a.txt", b"x"), lease["address"])
    (message,) = await messages_of(agent)
    now = post.house.clock.now()
    nobody = {"message_id": str(MessageId.new(now))}
    answers = [*await every_look(other.http, message), *await every_look(other.http, nobody)]
    answers += [
        await other.http.get(LIST, params={"mailbox_id": each})
        for each in (lease["mailbox_id"], str(MailboxId.new(now)))
    ]
    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(404, "not_found")}
    assert len({re.sub(r"(mbx|msg)_\w+", "", answer.json()["message"]) for answer in answers}) <= 2
    for query in ({"thread_id": message["thread_id"]}, {"thread_id": str(ThreadId.new(now))}, {}):
        assert (await other.http.get(LIST, params=query)).json()["items"] == []


@pytest.mark.parametrize(
    "message_id", ["x", "msg_", "msg_x", "lse_01m7w9s6jsez7rc7q1chr6pa14", "MSG_01M7W9S6JSEZ7RC7Q1CHR6PA14"]
)
async def test_ids_that_are_none_are_404(shared_house: House, message_id: str) -> None:
    agent = await shared_house.agent()
    answers = await every_look(agent.http, {"message_id": message_id})
    assert {answer.status_code for answer in answers} == {404}


async def test_reading_asks_for_its_scope(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    await post.deliver(with_attachment("a.txt", b"x"), lease["address"])
    (message,) = await messages_of(agent)
    made = await agent.http.post("/v2/api-keys", json={"name": "k", "scopes": ["mail:allocate"]})
    async with post.house.client(headers={"authorization": f"Bearer {made.json()['api_key']}"}) as http:
        answers = [*await every_look(http, message), await http.get(LIST)]
    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(403, "missing_scope")}
