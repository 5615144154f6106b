"""Mail for the house: which addresses are its own, how much it keeps, and that leases have no part in it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from leasebox.leases.model import RESERVED
from leasebox.mail import house as house_mail
from leasebox.mail.house import ROLES, HouseAddresses, sorted_out
from leasebox.mail.intake import GroupIntake
from leasebox.mail.model import Errand
from leasebox.mail.smtp_intake import Envelope, IncomingMail
from leasebox.values.addresses import Mailbox
from leasebox.values.errors import NotFound
from leasebox.values.ids import MessageId, SendAttemptId
from leasebox.wiring import process
from tests import kit_mail
from tests.kit import House
from tests.kit_mail import Post, mail, messages_of, value

shared_house = kit_mail.shared_house
NOW = datetime(2026, 11, 20, tzinfo=UTC)
ATTEMPT = SendAttemptId.new(NOW)
OTHER = SendAttemptId.new(NOW)
PATHS = {"bounce+good": ATTEMPT, "bounce+other": OTHER}
OWN = HouseAddresses(("inbox.leasebox.test", "two.example"), PATHS.get)


@pytest.fixture(scope="module")
async def post(shared_house: House) -> AsyncIterator[Post]:
    """An instance that takes house mail in and, having no desk, files it."""
    intake = GroupIntake(shared_house.db, process.lease_policy(shared_house.settings), shared_house.clock, OWN)
    async with kit_mail.accepting_by(shared_house, intake) as opened, kit_mail.parsing(shared_house):
        yield opened


@pytest.mark.parametrize(
    ("address", "errand"),
    [
        ("postmaster@inbox.leasebox.test", Errand("house", "postmaster@inbox.leasebox.test")),
        ("ABUSE@Two.example", Errand("house", "abuse@two.example")),
        ("abuse+x@two.example", Errand("house", "abuse@two.example")),
        ("complaints@inbox.leasebox.test", Errand("complaint", "complaints@inbox.leasebox.test")),
        ("fbl@inbox.leasebox.test", Errand("complaint", "fbl@inbox.leasebox.test")),
        ("bounce+good@inbox.leasebox.test", Errand("return_path", str(ATTEMPT))),
        ("bounce+good@custom.example", Errand("return_path", str(ATTEMPT))),
        ("postmaster@elsewhere.example", None),
        ("bounce+bad@inbox.leasebox.test", None),
        ("bounce@inbox.leasebox.test", None),
        ("somebody@inbox.leasebox.test", None),
    ],
)
def test_the_houses_own_addresses(address: str, errand: Errand | None) -> None:
    mailbox = Mailbox.parse(address)
    assert OWN.errand(mailbox) == errand
    assert OWN.wants(str(mailbox)) == (errand is not None)


def test_no_mailbox_can_be_leased_under_their_names() -> None:
    assert ROLES.keys() <= RESERVED


def test_one_mail_for_each_purpose() -> None:
    envelope = Envelope("", (), (), "c", "192.0.2.1", "ESMTP", None, smtputf8=False)
    incoming = IncomingMail(envelope, NOW, b"", b"x")
    errands = [Errand("house", "a"), Errand("return_path", "1"), Errand("house", "b"), Errand("house", "a")]
    found = sorted_out(incoming, errands, NOW)
    assert [(each.purpose, each.concerns) for each in found] == [("house", ("a", "b")), ("return_path", ("1",))]
    assert found[0].mail_id != found[1].mail_id
    assert sorted_out(incoming, [], NOW) == []


async def listed(house: House, purpose: str | None = None) -> list[str]:
    """The subjects, newest first."""
    rows = await house.db.read(lambda tx: house_mail.listed(tx, purpose, None, 100))  # type: ignore[arg-type]
    return [next(each["value"] for each in row["headers"] if each["name"] == "Subject") for row in rows]


async def test_house_mail_is_filed_and_read(post: Post) -> None:
    reply = await post.send(mail("To the house"), "postmaster@inbox.leasebox.test", "Abuse@two.example", sender="")
    assert reply.startswith("250 2.0.0 Stored msg_")
    await post.parsed()
    assert (await listed(post.house))[0] == "To the house"
    mail_id = MessageId.parse(reply.split()[-1])
    row = await post.house.db.read(lambda tx: house_mail.get(tx, mail_id))
    assert row["concerns"] == ["postmaster@inbox.leasebox.test", "abuse@two.example"]
    assert row["body_text"].strip() == "Hello there."
    raw = await post.house.db.read(lambda tx: house_mail.raw(tx, mail_id))
    assert raw.startswith(b"Return-Path: <>\r\nReceived: from ")
    assert raw.endswith(mail("To the house"))


async def test_bare_postmaster_is_ours(post: Post) -> None:
    """RFC 5321 §4.1.1.3."""
    assert (await post.rcpt("Postmaster")).startswith("250")


async def test_purposes_are_listed_apart(post: Post) -> None:
    await post.send(mail("A complaint"), "fbl@inbox.leasebox.test")
    await post.send(mail("A bounce"), "bounce+good@inbox.leasebox.test", sender="")
    await post.parsed()
    assert (await listed(post.house, "complaint"))[0] == "A complaint"
    assert "A complaint" not in await listed(post.house, "house")
    assert "A bounce" not in await listed(post.house)


async def test_a_mail_for_a_lease_and_the_house_is_stored_for_both(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    reply = await post.send(mail("For both"), lease["address"], "abuse@two.example", "bounce+good@two.example")
    assert len(reply.split()) == 6
    await post.parsed()
    assert [each["subject"] for each in await messages_of(agent)] == ["For both"]
    assert (await listed(post.house))[0] == "For both"
    stored = "SELECT count(*) FROM mails WHERE $1 = ANY (concerns)"
    assert await value(post.house, stored, str(ATTEMPT)) >= 1


async def test_where_the_lease_refuses_the_house_gets_nothing_either(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    before = await value(post.house, "SELECT count(*) FROM mails")
    async with post.wire() as wire:
        await wire.ask("MAIL FROM:<a@far.example>")
        for address in (lease["address"], "abuse@two.example"):
            assert (await wire.ask(f"RCPT TO:<{address}>")).startswith("250")
        await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/release")
        assert (await wire.content(mail())).startswith("451"), "the next RCPT says which"
    assert await value(post.house, "SELECT count(*) FROM mails") == before


async def test_role_addresses_take_no_large_mail(post: Post) -> None:
    async with post.wire() as wire:
        await wire.ask(f"MAIL FROM:<a@far.example> SIZE={house_mail.MAIL_OCTETS + 1}")
        assert (await wire.ask("RCPT TO:<abuse@two.example>")).startswith("552 5.3.4")
        assert (await wire.ask("RCPT TO:<bounce+good@two.example>")).startswith("250")
    large = mail(text="x" * 70 + ("\n" + "y" * 70) * 75_000)
    assert len(large) > house_mail.MAIL_OCTETS
    assert (await post.send(large, "abuse@two.example")).startswith("552 5.3.4")


async def test_only_so_many_are_kept(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house_mail, "KEPT_MAILS", 4)
    await asyncio.gather(*(post.send(mail(f"Flood {n}"), "abuse@two.example") for n in range(20)))
    await post.parsed()
    assert await value(post.house, "SELECT count(*) FROM mails WHERE purpose IN ('house', 'complaint')") == 4
    await post.send(mail("The last"), "abuse@two.example")
    await post.parsed()
    assert (await listed(post.house))[0] == "The last"
    assert len(await listed(post.house)) == 4


async def test_nor_more_octets_than_that(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house_mail, "KEPT_OCTETS", 3_000)
    for number in range(6):
        await post.send(mail(f"Heavy {number}", "x" * 900), "fbl@inbox.leasebox.test")
    await post.parsed()
    assert [each for each in await listed(post.house) if each.startswith("Heavy")][:2] == ["Heavy 5", "Heavy 4"]
    octets = "SELECT sum(octet_length(content)) FROM mails WHERE purpose IN ('house', 'complaint')"
    assert await value(post.house, octets) <= 3_000


async def test_a_leases_mail_is_no_house_mail(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    await post.send(mail("Mine"), lease["address"])
    await post.parsed()
    (message,) = await messages_of(agent)
    mail_id = await value(
        post.house, "SELECT mail_id FROM messages WHERE id = $1", MessageId.parse(message["message_id"])
    )
    for look in (house_mail.get, house_mail.raw):
        with pytest.raises(NotFound):
            await post.house.db.read(lambda tx, look=look: look(tx, MessageId.of(mail_id)))  # type: ignore[misc]
    assert not await post.house.db.transact(lambda tx: house_mail.hold(tx, MessageId.of(mail_id)))
    await post.house.db.transact(lambda tx: house_mail.drop(tx, MessageId.of(mail_id)))
    assert len(await messages_of(agent)) == 1


async def test_a_mail_waits_while_nobody_parses(house: House) -> None:
    intake = GroupIntake(house.db, process.lease_policy(house.settings), house.clock, OWN)
    async with kit_mail.accepting_by(house, intake) as post:
        reply = await post.send(mail("Waiting"), "abuse@two.example")
    mail_id = MessageId.parse(reply.split()[-1])
    assert await listed(house) == []
    with pytest.raises(NotFound):
        await house.db.read(lambda tx: house_mail.raw(tx, mail_id))
    assert await house.db.transact(lambda tx: house_mail.hold(tx, mail_id))
