"""From a wish to a letter: large messages leave the event loop alone, strangers' attachments get sound names."""

import asyncio
import time
from datetime import datetime, timedelta

import pytest

from leasebox.identity.model import SCOPES, Caller
from leasebox.leases.errors import LeaseEnded
from leasebox.leases.model import Mailbox
from leasebox.sending import writing
from leasebox.sending.compose import LARGE_OCTETS
from leasebox.sending.draft import ATTACHED_OCTETS, AttachmentGiven, Draft, Wish, read_draft
from leasebox.sending.errors import TooManyOctets, Unsendable, WrongPassword
from leasebox.sending.model import Letter
from leasebox.values.clock import rfc3339
from leasebox.values.ids import AgentId, SessionId
from tests.kit import House
from tests.kit_mail import shared_house
from tests.sending.writing_desk import Writer

__all__ = ["shared_house"]
ODD = b"""\
From: Ann <ann@shop.example>\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
\r
text\r
--b\r
Content-Type: message/rfc822\r
Content-Disposition: attachment; filename="a/../b\\\\c.eml"\r
\r
Subject: inner\r
\r
inner\r
--b\r
Content-Type: image/png; name=dot.png\r
Content-ID: <dot@1>\r
Content-Disposition: inline\r
Content-Transfer-Encoding: base64\r
\r
ZG90\r
--b--\r
"""


def caller_of(writer: Writer) -> Caller:
    agent = AgentId.parse(writer.agent.agent_id)
    return Caller(
        writer.tenant_id,
        agent,
        SessionId.new(writer.house.clock.now()),
        frozenset(SCOPES),
        None,
        None,
        None,
        None,
        "active",
    )


@pytest.fixture
async def ann(shared_house: House) -> Writer:
    return await Writer.new(shared_house)


async def box_of(ann: Writer, password: str | None = None) -> Mailbox:
    at = ann.house.clock.now()
    return await ann.house.db.read(
        lambda tx: writing.mailbox_to_write_from(tx, caller_of(ann), ann.mailbox_id, password, at)
    )


def draft(ann: Writer, *files: bytes) -> Draft:
    given = [AttachmentGiven(f"{place}.bin", "application/octet-stream", each) for place, each in enumerate(files)]
    return read_draft("to@b.example", "s", Wish(text="x", attachments=given), ann.house.clock.now())


async def test_a_letter_is_from_the_mailbox_and_names_its_attempt(ann: Writer) -> None:
    box = await box_of(ann, ann.lease["webmail_password"])
    letter = await writing.letter_of(draft(ann), box, ann.house.clock.now())
    assert (letter.sender, letter.mailbox_id) == (ann.address, ann.mailbox_id)
    assert letter.message.header_message_id == f"<{str(letter.attempt_id)[4:]}@inbox.leasebox.test>"
    assert f"From: {ann.address}\r\n".encode() in letter.content
    assert letter.message.direction == "outbound"


async def test_what_is_to_go_out_after_the_lease_is_refused(ann: Writer) -> None:
    box = await box_of(ann)
    at, ends = ann.house.clock.now(), box.lease.expires_at

    async def letter(send_at: datetime) -> Letter:
        wish = Wish(text="x", send_at=send_at)
        return await writing.letter_of(read_draft("to@b.example", "s", wish, at), box, at)

    assert (await letter(ends)).send_at == ends
    with pytest.raises(Unsendable, match=r"body.send_at: lies after the end of the lease, 20\d\d-.*Z; renew"):
        await letter(ends + timedelta(microseconds=1))
    answer = await ann.ask(send_at=rfc3339(ends + timedelta(seconds=1)))
    assert (answer.status_code, [each["path"] for each in answer.json()["errors"]]) == (422, ["body.send_at"])


async def test_after_the_end_even_the_right_password_opens_nothing(ann: Writer) -> None:
    await ann.pause("release")
    for password in (ann.lease["webmail_password"], "wrong", None):
        with pytest.raises(LeaseEnded):
            await box_of(ann, password)


async def test_a_wrong_password_is_told_only_of_a_living_lease(ann: Writer) -> None:
    with pytest.raises(WrongPassword):
        await box_of(ann, "wrong")


async def test_a_large_message_is_composed_beside_the_loop(ann: Writer) -> None:
    box, longest = await box_of(ann), 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            started = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - started)

    beating = asyncio.create_task(beat())
    started = time.monotonic()
    letter = await writing.letter_of(draft(ann, bytes(ATTACHED_OCTETS)), box, ann.house.clock.now())
    took = time.monotonic() - started
    beating.cancel()
    assert len(letter.content) > ATTACHED_OCTETS * 4 / 3
    assert longest < max(took / 2, 0.05), "others were served meanwhile"
    assert draft(ann, bytes(LARGE_OCTETS)).octets > LARGE_OCTETS


async def test_what_strangers_attached_is_attached_under_a_sound_name(ann: Writer) -> None:
    made = await writing.with_attachments_of(draft(ann, b"mine"), ODD)
    assert [(each.filename, each.content_type, each.disposition, each.content_id) for each in made.attachments] == [
        ("0.bin", "application/octet-stream", "attachment", None),
        (made.attachments[1].filename, "application/octet-stream", "attachment", None),
        ("dot.png", "image/png", "inline", "dot@1"),
    ]
    assert not set("/\\") & set(made.attachments[1].filename)
    assert [each.content for each in made.attachments][::2] == [b"mine", b"dot"]
    assert b"Subject: inner" in made.attachments[1].content
    letter = await writing.letter_of(made, await box_of(ann), ann.house.clock.now())
    assert [each["filename"] for each in letter.message.attachments] == [each.filename for each in made.attachments]


async def test_attachments_beyond_25_mib_are_too_many(ann: Writer) -> None:
    with pytest.raises(TooManyOctets):
        await writing.with_attachments_of(draft(ann, bytes(ATTACHED_OCTETS)), ODD)
