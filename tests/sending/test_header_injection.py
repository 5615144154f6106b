"""Header injection: a line break in any field of a request is refused or encoded, and never names another recipient.

Every field of a message × everything that some program takes for the end of a line. What is taken over must go to
exactly the recipients that were named, and its octets must hold exactly the fields that they would without the attack.
"""

import base64
import email
import email.policy
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from leasebox.values.ids import SendAttemptId
from tests.kit import Agent, House
from tests.kit_mail import rows, shared_house

__all__ = ["shared_house"]
BREAKS = {
    "cr": "\r",
    "lf": "\n",
    "crlf": "\r\n",
    "nul": "\x00",
    "nel": "\x85",
    "ls": "\u2028",
    "ps": "\u2029",
    "vt": "\x0b",
    "folded": "\r\n ",
}
ATTACK = "Bcc: smuggled@evil.example"
Put = Callable[[dict[str, Any], str], None]


def at_top(name: str, form: str = "{}") -> Put:
    """Puts a text into a field of the request."""

    def put(body: dict[str, Any], text: str) -> None:
        body[name] = form.format(text)

    return put


def in_attachment(name: str) -> Put:
    def put(body: dict[str, Any], text: str) -> None:
        body["attachments"][0][name] = text

    return put


def as_header_name(body: dict[str, Any], text: str) -> None:
    body["headers"] = {f"X-A{text}": "value"}


def as_header_value(body: dict[str, Any], text: str) -> None:
    body["headers"] = {"X-A": text}


def in_list(name: str) -> Put:
    def put(body: dict[str, Any], text: str) -> None:
        body[name] = ["fine@b.example", f"a{text}@b.example"]

    return put


# By field, and whether a line break there is no fault but text.
FIELDS: dict[str, tuple[Put, bool]] = {
    "to": (at_top("to", "a{}@b.example"), False),
    "to, its name": (at_top("to", "Ann {} <a@b.example>"), False),
    "to, its quoted name": (at_top("to", '"Ann {}" <a@b.example>'), False),
    "to, its quoted local part": (at_top("to", '"a {}"@b.example'), False),
    "to, its domain": (at_top("to", "a@b{}.example"), False),
    "to, in brackets": (at_top("to", "<a@b.example>{}"), False),
    "to, in a list": (in_list("to"), False),
    "cc": (at_top("cc", "a{}@b.example"), False),
    "cc, its name": (at_top("cc", "Ann {} <a@b.example>"), False),
    "bcc": (at_top("bcc", "a{}@b.example"), False),
    "bcc, in a list": (in_list("bcc"), False),
    "reply_to": (at_top("reply_to", "a{}@b.example"), False),
    "reply_to, its name": (at_top("reply_to", "Ann {} <a@b.example>"), False),
    "subject": (at_top("subject", "Hello {}"), False),
    "in_reply_to": (at_top("in_reply_to", "<a{}@b.example>"), False),
    "in_reply_to, behind it": (at_top("in_reply_to", "<a@b.example>{}"), False),
    "header name": (as_header_name, False),
    "header value": (as_header_value, False),
    "filename": (in_attachment("filename"), False),
    "content_type": (in_attachment("content_type"), False),
    "content_id": (in_attachment("content_id"), False),
    "text": (at_top("text", "Hello {}"), True),
    "html": (at_top("html", "<p>Hello {}</p>"), True),
}


@pytest.fixture(scope="module")
async def sender(shared_house: House) -> tuple[Agent, str]:
    agent = await shared_house.agent()
    return agent, (await agent.lease())["mailbox_id"]


def request_of(mailbox_id: str) -> dict[str, Any]:
    file = {"filename": "a.txt", "content_type": "text/plain", "content_base64": base64.b64encode(b"file").decode()}
    return {
        "mailbox_id": mailbox_id,
        "to": "Ann <to@b.example>",
        "cc": ["cc@b.example"],
        "bcc": ["bcc@b.example"],
        "subject": "Hello",
        "text": "Hello",
        "html": "<p>Hello</p>",
        "attachments": [file],
    }


async def sent(house: House, agent: Agent, told: dict[str, Any]) -> tuple[list[str], Any]:
    """The envelope that stands in the queue, and the message as the standard library reads it."""
    attempt = SendAttemptId.parse(told["send_attempt_id"])
    envelope = await rows(house, "SELECT address FROM send_recipients WHERE attempt_id = $1 ORDER BY position", attempt)
    (queued,) = await rows(house, "SELECT content FROM outgoing_contents WHERE attempt_id = $1", attempt)
    raw = (await agent.http.get(f"/v2/messages/{told['message_id']}/raw")).content
    assert raw == queued["content"]
    return [row["address"] for row in envelope], email.message_from_bytes(raw, policy=email.policy.default)


@pytest.mark.parametrize("mark", BREAKS)
@pytest.mark.parametrize("field", FIELDS)
async def test_a_line_break_makes_no_header(
    shared_house: House, sender: tuple[Agent, str], field: str, mark: str
) -> None:
    agent, mailbox_id = sender
    body = request_of(mailbox_id)
    put, is_text = FIELDS[field]
    put(body, BREAKS[mark] + ATTACK)
    answer = await agent.http.post(
        "/v2/messages/send", content=msgspec.json.encode(body), headers={"content-type": "application/json"}
    )
    if not is_text or mark == "nul":
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"], "the field is named"
        return
    assert answer.status_code == 202, answer.text
    envelope, message = await sent(shared_house, agent, answer.json())
    assert envelope == ["to@b.example", "cc@b.example", "bcc@b.example"]
    assert answer.json()["accepted"] == envelope
    assert message["bcc"] is None and b"bcc@b.example" not in bytes(message)
    assert {name.lower() for name, _ in message.items()} == {
        *("from", "to", "cc", "subject", "date", "message-id", "mime-version", "content-type")
    }


async def test_an_attempt_that_was_refused_leaves_nothing(shared_house: House, sender: tuple[Agent, str]) -> None:
    agent, mailbox_id = sender
    before = await rows(shared_house, "SELECT (SELECT count(*) FROM send_attempts) AS a, count(*) AS m FROM messages")
    body = {**request_of(mailbox_id), "subject": f"x\r\n{ATTACK}"}
    assert (await agent.http.post("/v2/messages/send", json=body)).status_code == 422
    after = await rows(shared_house, "SELECT (SELECT count(*) FROM send_attempts) AS a, count(*) AS m FROM messages")
    assert before == after


@pytest.mark.parametrize(
    ("given", "envelope", "shown"),
    [
        ("ann@bücher.example", "ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
        ("Ännchen <ann@BÜCHER.example>", "ann@xn--bcher-kva.example", "Ännchen <ann@xn--bcher-kva.example>"),
        ("a@例え.example", "a@xn--r8jz45g.example", "a@xn--r8jz45g.example"),
        ('"ann lee"@b.example', '"ann lee"@b.example', '"ann lee"@b.example'),
        ('"a@c.example,"@b.example', '"a@c.example,"@b.example', '"a@c.example,"@b.example'),
        ('"a\\"b"@b.example', '"a\\"b"@b.example', '"a\\"b"@b.example'),
        ('"x> <evil@evil.example"@b.example', None, None),
        ('"Bcc: e@evil.example" <a@b.example>', "a@b.example", '"Bcc: e@evil.example" <a@b.example>'),
        ('"a@evil.example, x" <a@b.example>', "a@b.example", '"a@evil.example, x" <a@b.example>'),
        ("=?utf-8?Q?=0D=0ABcc:_e@evil.example?= <a@b.example>", None, None),
        ('"=?utf-8?Q?=0D=0ABcc:?=" <a@b.example>', "a@b.example", None),
        ("a@b.example,evil@evil.example", None, None),
        ("a@b.example evil@evil.example", None, None),
        ("a%evil.example@b.example", "a%evil.example@b.example", "a%evil.example@b.example"),
        ("@evil.example:a@b.example", None, None),
        ("ünï@b.example", None, None),
        ("a@b.example>,<evil@evil.example", None, None),
    ],
    ids=ascii,
)
async def test_the_envelope_holds_exactly_who_was_named(
    shared_house: House, sender: tuple[Agent, str], given: str, envelope: str | None, shown: str | None
) -> None:
    agent, mailbox_id = sender
    body = {"mailbox_id": mailbox_id, "to": [given], "subject": "x", "text": "x"}
    answer = await agent.http.post("/v2/messages/send", json=body)
    if envelope is None:
        assert answer.status_code == 422, answer.text
        return
    assert answer.status_code == 202, answer.text
    found, message = await sent(shared_house, agent, answer.json())
    assert found == [envelope]
    (only,) = message["to"].addresses
    assert only.addr_spec == envelope
    assert shown is None or str(message["to"]) == shown


async def test_a_display_name_of_the_mailbox_starts_no_header(shared_house: House) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    for mark in BREAKS.values():
        name = f"Ann{mark}{ATTACK}"
        changed = await agent.http.patch(
            f"/v2/mailboxes/accounts/{lease['account_id']}",
            content=msgspec.json.encode({"display_name": name}),
            headers={"content-type": "application/json"},
        )
        assert changed.status_code in (200, 400, 422)
        body = {"mailbox_id": lease["mailbox_id"], "to": "a@b.example", "subject": "x", "text": "x"}
        answer = await agent.http.post("/v2/messages/send", json=body)
        found, message = await sent(shared_house, agent, answer.json())
        assert (found, message["bcc"]) == (["a@b.example"], None)
        assert [each.addr_spec for each in message["from"].addresses] == [lease["address"]]
