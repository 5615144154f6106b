"""Mail that stays inside: traced, read by the parser, trusted; refused where SMTP would refuse it."""

import pytest

from leasebox.infra import wall
from leasebox.infra.db import Tx
from leasebox.leases.inbound import Inbound, Slot
from leasebox.mail import house as house_mail
from leasebox.mail import inside
from leasebox.mail.inside import InsideMail
from leasebox.mail.jobs import Parser
from leasebox.mail.model import Errand
from leasebox.mail.sender_auth import SenderAuth
from leasebox.values.ids import TenantId
from leasebox.wiring import process
from tests.fakes.clock import FakeClock
from tests.kit import House
from tests.kit_mail import Post, change, mail, messages_of, parsing, shared_house, shared_post, until, value

__all__ = ["shared_house", "shared_post"]
BOUNCE = InsideMail("", "mx.leasebox.test", "snd_1", mail(subject="Undelivered", From="mailer-daemon@leasebox.test"))


async def deliver(house: House, *addresses: str, what: InsideMail = BOUNCE) -> dict[str, Slot | Inbound]:
    policy, at = process.lease_policy(house.settings), house.clock.now()

    async def body(tx: Tx) -> dict[str, Slot | Inbound]:
        return await inside.deliver(tx, what, addresses, policy, at)

    return await house.db.transact(body)


def test_its_trace_names_no_recipient() -> None:
    trace = InsideMail("a@b.example", "mx.here.example", "snd_1", b"").trace(FakeClock().now())
    first, second, third, rest = trace.split(b"\r\n")
    assert (first, second, rest) == (
        b"Return-Path: <a@b.example>",
        b"Received: by mx.here.example with LOCAL id snd_1;",
        b"",
    )
    assert third.startswith(b"\t") and third.endswith(b" +0000")


async def test_one_mail_reaches_several_mailboxes_whatever_the_others_say(shared_post: Post) -> None:
    house = shared_post.house
    agent = await house.agent()
    one, two, gone = await agent.lease(), await agent.lease(), await agent.lease()
    await agent.http.post(f"/v2/mailboxes/leases/{gone['lease_id']}/release")
    nobody = "nobody-is-here@inbox.leasebox.test"
    found = await deliver(house, one["address"], two["address"], gone["address"], nobody, one["address"])
    assert {each: isinstance(said, Slot) or said for each, said in found.items()} == {
        one["address"]: True,
        two["address"]: True,
        gone["address"]: Inbound.ENDED,
        nobody: Inbound.UNKNOWN,
    }
    await shared_post.parsed()
    for lease in (one, two):
        (got,) = await messages_of(agent, mailbox_id=lease["mailbox_id"])
        whole = (await agent.http.get(f"/v2/messages/{got['message_id']}")).json()
        assert (whole["subject"], whole["envelope_sender"]) == ("Undelivered", "")
        assert whole["auth"] == {"spf": "pass", "dkim": "pass", "dmarc": "pass"}
        raw = (await agent.http.get(got["raw_ref"])).content
        assert raw.endswith(BOUNCE.content) and got["size_bytes"] == len(raw)


async def test_a_tenants_mail_to_the_house_drops_the_oldest_of_anybodys(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the sender's wall none of these would be seen."""
    monkeypatch.setattr(house_mail, "KEPT_MAILS", 4)
    for tenant_id in [TenantId.new(house.clock.now()) for _ in range(6)]:
        errand, at = Errand("house", "postmaster@inbox.leasebox.test"), house.clock.now()
        house.clock.advance(seconds=1)
        with wall.behind(tenant_id):
            await house.db.transact(lambda tx, e=errand, at=at: inside.put_in_house(tx, BOUNCE, [e], at))
    assert await house.db.read(lambda tx: tx.value("SELECT count(*) FROM mails")) == 4


async def test_what_nobody_takes_is_not_stored(shared_house: House) -> None:
    before = await value(shared_house, "SELECT count(*) FROM mails")
    assert set((await deliver(shared_house, "nobody-is-here@inbox.leasebox.test")).values()) == {Inbound.UNKNOWN}
    assert await value(shared_house, "SELECT count(*) FROM mails") == before


class Doubter:
    """A judge that believes nobody."""

    async def check(self, *args: object, **more: object) -> SenderAuth:
        del args, more
        return SenderAuth("fail", "fail", "fail")


async def test_mail_from_inside_is_not_judged_by_strangers_rules(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    await deliver(house, lease["address"])
    outside = (
        "INSERT INTO mails SELECT gen_random_uuid(), received_at, mail_from, helo, client_address, 'ESMTP', trace, "
    )
    outside += """content, jsonb_set(accepted_for, '{0,message_id}', to_jsonb(gen_random_uuid())), state, claim,
        claimed_until, tries, purpose, concerns FROM mails"""
    await change(house, outside)
    async with parsing(house, judge=Doubter()) as parser:
        assert isinstance(parser, Parser)

        async def parsed() -> bool:
            return not await value(house, "SELECT count(*) FROM mails WHERE state = 'pending'")

        await until(parsed)
    found = [each["auth"]["dmarc"] for each in await messages_of(agent)]
    assert sorted(found) == ["fail", "pass"]
