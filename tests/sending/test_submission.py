"""Handing in over SMTP: real clients, the same queue as HTTP, each refusal, and rights that end."""

import asyncio
import smtplib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import pytest

from leasebox.infra import db
from leasebox.infra.db import StorageFull
from leasebox.leases import logins, passwords
from leasebox.sending.submission import Guard
from leasebox.values.errors import Unavailable
from leasebox.values.ids import LeaseId, MailboxId, SendAttemptId, TenantId
from leasebox.values.rate import Rate
from tests import kit_mail
from tests.kit import Agent, House
from tests.kit_mail import change, messages_of, rows, value
from tests.sending.returns import back_to
from tests.sending.submitting import UNLIMITED, Door, encoded, hand_in, letter, plain, submitting, trusting

shared_house = kit_mail.shared_house
FAR = "ann@far.example"
MESSAGE = letter("Hello")


@pytest.fixture(scope="module")
async def door(shared_house: House) -> AsyncIterator[Door]:
    async with submitting(shared_house) as opened:
        yield opened


@pytest.fixture
async def agent(door: Door) -> Agent:
    return await door.house.agent()


@pytest.fixture
async def lease(agent: Agent) -> dict[str, Any]:
    return await agent.lease()


def composed(lease: dict[str, Any], *to: str, **fields: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = f"An Agent <{lease['address']}>"
    message["To"] = ", ".join(to)
    message["Subject"] = "Grüße"
    for name, text in fields.items():
        message[name.replace("_", "-")] = text
    message.set_content("Hello there, äöü.\n")
    return message


def tenant(agent: Agent) -> TenantId:
    return TenantId.parse(agent.session["tenant_id"])


async def attempts(house: House, agent: Agent) -> list[Any]:
    """The tenant's attempts with their recipients, oldest first."""
    sql = """SELECT a.id, a.state, a.sender, a.actor, array_agg(r.address || ' ' || r.kind || ' ' || r.state
             ORDER BY r.position) AS recipients, c.content
             FROM send_attempts a JOIN send_recipients r ON r.attempt_id = a.id
             LEFT JOIN outgoing_contents c ON c.attempt_id = a.id WHERE a.tenant_id = $1
             GROUP BY a.id, c.content ORDER BY a.id"""
    return await rows(house, sql, tenant(agent))


async def unbind(house: House, agent: Agent) -> None:
    """Take the wallet away, as if the tenant came by a claim."""
    await change(house, "DELETE FROM wallets WHERE tenant_id = $1", tenant(agent))


# Real clients


async def test_smtplib_hands_in(door: Door, agent: Agent, lease: dict[str, Any]) -> None:
    def use(client: smtplib.SMTP) -> dict[str, tuple[int, bytes]]:
        client.login(lease["webmail_login"], lease["webmail_password"])
        return client.send_message(composed(lease, FAR, Cc="bob@far.example", Bcc="cleo@far.example"))

    assert await door.smtplib(use) == {}
    (kept,) = await messages_of(agent)
    assert (kept["direction"], kept["subject"], kept["labels"]) == ("outbound", "Grüße", ["sent"])
    (attempt,) = await attempts(door.house, agent)
    assert (attempt["state"], attempt["sender"], attempt["actor"]) == ("queued", lease["address"], agent.agent_id)
    wanted = {f"{FAR} to queued", "bob@far.example cc queued", "cleo@far.example bcc queued"}
    assert set(attempt["recipients"]) == wanted
    assert b"cleo" not in attempt["content"]
    assert b"127.0.0.1" not in attempt["content"]
    assert attempt["content"].startswith(b"Received: by mx.leasebox.test with ESMTPSA id snd_")
    assert f"From: An Agent <{lease['address']}>\r\n".encode() in attempt["content"]


async def test_aiosmtplib_hands_in(door: Door, agent: Agent, lease: dict[str, Any]) -> None:
    host, port = door.server.addresses[0]
    errors, said = await aiosmtplib.send(
        composed(lease, FAR),
        hostname=host,
        port=port,
        start_tls=True,
        tls_context=trusting(),
        username=lease["webmail_login"],
        password=lease["webmail_password"],
    )
    assert (errors, said.startswith("2.0.0 Queued as snd_")) == ({}, True)
    (attempt,) = await attempts(door.house, agent)
    assert str(SendAttemptId.of(attempt["id"])) == said.rpartition(" ")[2]


@pytest.mark.parametrize("mechanism", ["plain", "login"])
async def test_either_mechanism_with_or_without_initial_response(
    door: Door, lease: dict[str, Any], mechanism: str
) -> None:
    def use(client: smtplib.SMTP) -> list[int]:
        found = []
        for initial in (True, False):
            client.ehlo()
            client.user, client.password = lease["webmail_login"], lease["webmail_password"]
            method = getattr(client, f"auth_{mechanism}")
            found.append(client.auth(mechanism.upper(), method, initial_response_ok=initial)[0])
            client.quit()
            client.connect(*door.server.addresses[0])
            client.starttls(context=trusting())
        return found

    assert await door.smtplib(use) == [235, 235]


async def test_mail_for_a_neighbour_is_there_at_once(door: Door, agent: Agent, lease: dict[str, Any]) -> None:
    other = await door.house.agent()
    theirs = await other.lease()
    async with kit_mail.parsing(door.house):
        reply = await door.send(lease, letter("Code", "Your code is 481216.", Bcc="x@far.example"), theirs["address"])
        assert reply.startswith("250 2.0.0 Queued as snd_")
        await kit_mail.until(lambda: _has_mail(other))
    (got,) = await messages_of(other)
    assert (got["sender"], got["otp_code"]) == (lease["address"], "481216")
    (attempt,) = await attempts(door.house, agent)
    assert (attempt["state"], attempt["recipients"]) == ("sent", [f"{theirs['address']} bcc delivered"])


async def _has_mail(agent: Agent) -> bool:
    return bool(await messages_of(agent))


async def test_eight_bits_and_chunks_pass(door: Door, agent: Agent, lease: dict[str, Any]) -> None:
    async with door.wire(lease) as wire:
        await wire.ask(f"MAIL FROM:<{lease['address']}> BODY=8BITMIME SIZE=60 AUTH=<>")
        await wire.ask(f"RCPT TO:<{FAR}>")
        body = "Subject: x\r\n\r\näöü\r\n"
        reply = await wire.ask(f"BDAT {len(body.encode())} LAST\r\n{body}".removesuffix("\r\n"))
    assert reply.startswith("250 2.0.0 Queued")
    (attempt,) = await attempts(door.house, agent)
    assert attempt["content"].endswith("\r\n\r\näöü\r\n".encode())


# Signing in


async def released(house: House, agent: Agent, lease: dict[str, Any]) -> None:
    answer = await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/release")
    assert answer.status_code == 202


async def paused(house: House, agent: Agent, lease: dict[str, Any]) -> None:
    assert (await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/pause")).status_code == 200


async def frozen(house: House, agent: Agent, lease: dict[str, Any]) -> None:
    await change(house, "UPDATE leases SET frozen_at = now() WHERE id = $1", LeaseId.parse(lease["lease_id"]))


async def expired(house: House, agent: Agent, lease: dict[str, Any]) -> None:
    past = house.clock.now() - timedelta(seconds=1)
    await change(house, "UPDATE leases SET expires_at = $2 WHERE id = $1", LeaseId.parse(lease["lease_id"]), past)


async def reset(house: House, agent: Agent, lease: dict[str, Any]) -> None:
    house.clock.advance(seconds=1)
    answer = await agent.http.post(f"/v2/mailboxes/accounts/{lease['mailbox_id']}/credentials/reset")
    assert answer.status_code == 200


async def suspended(house: House, agent: Agent, lease: dict[str, Any]) -> None:
    await change(house, "UPDATE tenants SET status = 'suspended' WHERE id = $1", tenant(agent))


async def erased(house: House, agent: Agent, lease: dict[str, Any]) -> None:
    assert (await agent.http.delete(f"/v2/mailboxes/accounts/{lease['mailbox_id']}")).status_code == 204


Change = Callable[[House, Agent, dict[str, Any]], Awaitable[None]]
CHANGES: list[tuple[Change, str]] = [
    (released, "535 5.7.8"),
    (expired, "535 5.7.8"),
    (reset, "535 5.7.8"),
    (erased, "535 5.7.8"),
    (paused, "454 4.7.0"),
    (frozen, "525 5.7.13"),
    (suspended, "525 5.7.13"),
]


@pytest.mark.parametrize(("lose", "code"), CHANGES)
async def test_who_has_lost_the_right_does_not_sign_in(
    door: Door, agent: Agent, lease: dict[str, Any], lose: Change, code: str
) -> None:
    await lose(door.house, agent, lease)
    async with door.wire() as wire:
        assert (await wire.ask(plain(lease))).startswith(code)
        assert (await wire.ask(f"MAIL FROM:<{lease['address']}>")).startswith("530 5.7.0")


@pytest.mark.parametrize(
    "words",
    [
        "\0{login}\0wrong",
        "\0{login}\0{other}",
        "\0nobody@inbox.leasebox.test\0{password}",
        "\0{login}+tag\0{password}",
        "\0{name}\0{password}",
        "\0not an address\0{password}",
        "\0{theirs}\0{password}",
        "{theirs}\0{login}\0{password}",
    ],
    ids=range(8),
)
async def test_wrong_credentials_are_all_answered_alike(
    door: Door, agent: Agent, lease: dict[str, Any], words: str
) -> None:
    other = await (await door.house.agent()).lease()
    filled = words.format(
        login=lease["webmail_login"],
        password=lease["webmail_password"],
        other=other["webmail_password"],
        theirs=other["address"],
        name=lease["address"].partition("@")[0],
    )
    async with door.wire() as wire:
        assert await wire.ask(f"AUTH PLAIN {encoded(filled)}") == "535 5.7.8 Wrong address or password"


async def test_any_spelling_of_the_address_signs_in(door: Door, lease: dict[str, Any]) -> None:
    words = f"\0{lease['address'].upper()}\0{lease['webmail_password']}"
    async with door.wire() as wire:
        assert (await wire.ask(f"AUTH PLAIN {encoded(words)}")).startswith("235")
        assert (await wire.ask(f"MAIL FROM:<{lease['address'].title()}>")).startswith("250")


async def test_a_login_that_does_not_exist_costs_as_much(
    door: Door, lease: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    verify = passwords.matches
    monkeypatch.setattr(logins, "matches", lambda stored, word: looked.append(stored) or verify(stored, word))
    async with door.wire() as wire:
        await wire.ask(f"AUTH PLAIN {encoded(chr(0) + 'nobody@inbox.leasebox.test' + chr(0) + 'x')}")
        await wire.ask(plain(lease, "wrong"))
    # Equal up to the salt: version, memory, passes, lanes, and the lengths of salt and hash.
    nobody, somebody = (stored.split("$") for stored in looked)
    assert nobody[:4] == somebody[:4]
    assert [len(each) for each in nobody] == [len(each) for each in somebody]


async def test_a_client_that_guesses_is_turned_away_and_nobody_else(door: Door, lease: dict[str, Any]) -> None:
    async with submitting(door.house, failures=(Rate(4, 600), UNLIMITED)) as guarded:
        said = []
        for _ in range(3):
            async with guarded.wire(client="10.1.1.1") as wire:
                said += [await wire.ask(plain(lease, "wrong")), await wire.ask(plain(lease, "wrong"))]
                if said[-1].startswith("421"):
                    break
        assert [reply[:3] for reply in said] == ["535"] * 4 + ["421", ""][: len(said) - 4]
        async with guarded.wire(client="10.1.1.1") as wire:
            assert (await wire.ask(plain(lease))).startswith("421 4.7.0")
        async with guarded.wire(client="10.1.1.2") as wire:
            assert (await wire.ask(plain(lease))).startswith("235")


async def test_guessing_at_a_mailbox_does_not_lock_its_owner_out(door: Door, lease: dict[str, Any]) -> None:
    async with submitting(door.house, failures=(UNLIMITED, Rate(3, 600))) as guarded:
        said = []
        for _ in range(4):
            async with guarded.wire() as wire:
                said.append((await wire.ask(plain(lease, "wrong")))[:3])
        assert said == ["535"] * 3 + ["421"]
        async with guarded.wire(lease) as wire:
            assert (await wire.ask("NOOP")).startswith("250")


async def test_a_guard_forgets_whom_it_turned_away_in_time(
    shared_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard, now = Guard(shared_house.base.cache, Rate(1, 60), UNLIMITED), [1_000.0]
    monkeypatch.setattr("leasebox.sending.submission.time.monotonic", lambda: now[0])
    assert [await guard.failed("10.9.9.9", "x") for _ in range(2)] == [False, True]
    assert guard.turns_away("10.9.9.9")
    assert not guard.turns_away("10.9.9.8")
    now[0] += 61
    assert not guard.turns_away("10.9.9.9")


# The envelope and the header


@pytest.mark.parametrize(
    ("sender", "code"),
    [
        ("", "553 5.7.1"),
        ("boss@far.example", "553 5.7.1"),
        ("{name}+x@inbox.leasebox.test", "553 5.7.1"),
        ("{name}@inbox.leasebox.test.example", "553 5.7.1"),
        ("bounce@inbox.leasebox.test", "553 5.7.1"),
        ("{name}@inbox.leasebox.test", "250 2.1.0"),
    ],
)
async def test_mail_from_must_be_the_leased_address(door: Door, lease: dict[str, Any], sender: str, code: str) -> None:
    async with door.wire(lease) as wire:
        name = lease["address"].partition("@")[0]
        assert (await wire.ask(f"MAIL FROM:<{sender.format(name=name)}>")).startswith(code)


async def test_recipients_are_judged_one_by_one(door: Door, agent: Agent, lease: dict[str, Any]) -> None:
    gone = await agent.lease()
    await released(door.house, agent, gone)
    waiting = await agent.lease()
    await paused(door.house, agent, waiting)
    now = door.house.clock.now()
    await change(
        door.house,
        "INSERT INTO suppressions (tenant_id, address, id, reason, detail, at)"
        " VALUES ($1, 'dead@far.example', gen_random_uuid(), 'hard_bounce', '', $2)",
        tenant(agent),
        now,
    )
    await change(
        door.house,
        "INSERT INTO denied_domains (direction, domain, note, made_by, at)"
        " VALUES ('recipient', 'denied.example', '', 'test', $1) ON CONFLICT DO NOTHING",
        now,
    )
    cases = {
        FAR: "250 2.1.5",
        "Dead@far.example": "550 5.1.1 Suppressed",
        "x@denied.example": "550 5.1.2",
        "x@sub.denied.example": "550 5.1.2",
        "nobody@inbox.leasebox.test": "550 5.1.1",
        "postmaster@inbox.leasebox.test": "250 2.1.5",
        "Abuse@INBOX.leasebox.test": "250 2.1.5",
        "postmaster@far.example": "250 2.1.5",
        back_to(door.house, SendAttemptId.new(now)): "550 5.1.1",
        gone["address"]: "550 5.2.1",
        waiting["address"]: "250 2.1.5",
        "x@localhost": "550 5.1.3",
        "x@[192.0.2.1]": "550 5.1.2",
        "no address": "501 5.1.3",
        "müller@far.example": "553 5.6.7",
        "x@xn--mller-kva.example": "250 2.1.5",
    }
    async with door.wire(lease) as wire:
        await wire.ask(f"MAIL FROM:<{lease['address']}>")
        for address, code in cases.items():
            assert (await wire.ask(f"RCPT TO:<{address}>")).startswith(code), address
    other = await door.house.agent()
    assert (await door.send(await other.lease(), MESSAGE, "dead@far.example")).startswith("250"), (
        "another tenant's mail"
    )


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (letter(From="boss@far.example"), "550 5.7.1"),
        (b"hello\r\n\r\n", "550 5.6.0"),
        (letter("a\r\nSubject: b"), "550 5.6.0"),
        ("Subject: ä\r\n\r\n".encode(), "550 5.6.7"),
        (b"Subject: x\r\n\r\n" + b"y" * 999 + b"\r\n", "550 5.6.0"),
        (b"Subject: x\r\n\r\na\rb\r\n", "550 5.6.11"),
    ],
    ids=range(6),
)
async def test_mail_that_may_not_go_out(door: Door, agent: Agent, lease: dict[str, Any], raw: bytes, code: str) -> None:
    assert (await door.send(lease, raw, FAR)).startswith(code)
    assert await attempts(door.house, agent) == []
    assert await messages_of(agent) == []


async def test_the_101st_recipient_and_the_26th_mebibyte(door: Door, lease: dict[str, Any]) -> None:
    async with door.wire(lease) as wire:
        assert (await wire.ask(f"MAIL FROM:<{lease['address']}> SIZE=26214401")).startswith("552 5.3.4")
        await wire.ask(f"MAIL FROM:<{lease['address']}>")
        for number in range(100):
            assert (await wire.ask(f"RCPT TO:<a{number}@far.example>")).startswith("250")
        assert (await wire.ask("RCPT TO:<a100@far.example>")).startswith("452 4.5.3")


async def test_role_addresses_take_mail_and_say_how_large(door: Door, agent: Agent, lease: dict[str, Any]) -> None:
    role, kept = "postmaster@inbox.leasebox.test", "SELECT count(*) FROM mails WHERE purpose = 'house'"
    before = await value(door.house, kept)
    assert (await door.send(lease, MESSAGE, role)).startswith("250 2.0.0 Queued")
    (attempt,) = await attempts(door.house, agent)
    assert (attempt["state"], attempt["recipients"]) == ("sent", [f"{role} bcc delivered"])
    assert await value(door.house, kept) == before + 1
    large = letter(text=("x" * 900 + "\r\n") * 6_000)
    assert (await door.send(lease, large, FAR, role)).startswith("552 5.3.4"), "which does not change by being repeated"
    assert len(await attempts(door.house, agent)) == 1
    async with door.wire(lease) as wire:
        await wire.ask(f"MAIL FROM:<{lease['address']}> SIZE={len(large)}")
        assert (await wire.ask(f"RCPT TO:<{role}>")).startswith("552 5.3.4")
        assert (await wire.ask(f"RCPT TO:<{FAR}>")).startswith("250")


async def test_a_client_address_sends_no_faster_than_its_rate(door: Door, lease: dict[str, Any]) -> None:
    async with submitting(door.house, rate=Rate(1, 3600)) as slow, slow.wire(lease) as wire:
        said = [(await hand_in(wire, lease["address"], MESSAGE, FAR))[:9] for _ in range(2)]
    assert said[1] == "450 4.7.1"


# What it costs


async def test_the_cooldown_of_a_tenant_without_a_wallet(door: Door, agent: Agent, lease: dict[str, Any]) -> None:
    await unbind(door.house, agent)
    people = [f"a{number}@far.example" for number in range(11)]
    too_many = await door.send(lease, MESSAGE, *people)
    assert too_many.startswith("550 5.7.1 A tenant without a wallet")
    assert (await door.send(lease, MESSAGE, *people[:10])).startswith("250")
    later = await door.send(lease, MESSAGE, FAR)
    assert later.startswith("450 4.7.1 ")
    assert later.endswith("Retry in 86400 s.")
    assert len(await attempts(door.house, agent)) == 1


async def test_ten_of_thirty_at_once(door: Door, agent: Agent, lease: dict[str, Any]) -> None:
    await unbind(door.house, agent)
    said = await asyncio.gather(*(door.send(lease, MESSAGE, FAR) for _ in range(30)))
    assert sorted(reply[:3] for reply in said) == ["250"] * 10 + ["450"] * 20
    assert len(await attempts(door.house, agent)) == 10
    assert len(await messages_of(agent)) == 10


async def test_beyond_the_allowance_a_proof_pays(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    people = [f"a{number}@far.example" for number in range(20)]
    async with submitting(house) as door:
        assert (await door.send(lease, MESSAGE, *people)).startswith("250")
        refused = await door.send(lease, MESSAGE, FAR)
        assert refused.startswith("550 5.7.1 The 20 free recipients of message.send this day are used up")
        assert "x-payment-proof" in refused
        proof = await agent.http.post("/v2/payments/proof", json={"method": "POST", "path": "/v2/messages/send"})
        paying = letter("Paid", X_Payment_Proof=proof.json()["x_payment_proof"])
        assert (await door.send(lease, paying, FAR)).startswith("250")
        assert (await door.send(lease, paying, FAR)).startswith("550 5.7.1 The payment proof was spent before")
    found = await attempts(house, agent)
    assert len(found) == 2
    assert b"proof" not in found[1]["content"].lower()
    spent = """SELECT free_quantity, paid_quantity FROM usage_events
               WHERE tenant_id = $1 AND meter = 'message.send' ORDER BY id"""
    assert [tuple(row) for row in await rows(house, spent, tenant(agent))] == [(20, 0), (0, 1)]
    denied = "SELECT count(*) FROM facts WHERE tenant_id = $1 AND type = 'usage.denied'"
    assert await value(house, denied, tenant(agent)) == 2


async def test_the_mailboxs_own_daily_limit(door: Door, agent: Agent, lease: dict[str, Any]) -> None:
    await change(
        door.house,
        "INSERT INTO mailbox_sends VALUES ($1, $2, 1, $3::timestamptz::date, 0, 0, 0, 0)",
        MailboxId.parse(lease["mailbox_id"]),
        tenant(agent),
        door.house.clock.now(),
    )
    assert (await door.send(lease, MESSAGE, FAR, "bob@far.example"))[:9] in ("550 5.7.1", "450 4.7.1")
    assert (await door.send(lease, MESSAGE, FAR)).startswith("250")
    assert (await door.send(lease, MESSAGE, FAR)).startswith("450 4.7.1")


async def test_a_full_mailbox_keeps_no_copy_and_sends_nothing(door: Door, agent: Agent, lease: dict[str, Any]) -> None:
    await change(door.house, "UPDATE leases SET used_messages = 1000 WHERE id = $1", LeaseId.parse(lease["lease_id"]))
    assert (await door.send(lease, MESSAGE, FAR)).startswith("452 4.2.2")
    assert await attempts(door.house, agent) == []


# Rights that end


@pytest.mark.parametrize("lose", [each for each, _ in CHANGES])
async def test_an_idle_session_ends_at_its_next_command(
    door: Door, agent: Agent, lease: dict[str, Any], lose: Change
) -> None:
    async with door.wire(lease) as wire:
        assert (await wire.ask("NOOP")).startswith("250")
        await lose(door.house, agent, lease)
        await asyncio.sleep(0.6)
        assert (await wire.ask("NOOP")).startswith("421 4.7.0")
        assert await wire.hear() == ""


@pytest.mark.parametrize("lose", [each for each, _ in CHANGES])
async def test_a_mail_under_way_is_not_taken_any_more(
    door: Door, agent: Agent, lease: dict[str, Any], lose: Change
) -> None:
    """The right is judged in the transaction, whatever was believed a moment before."""
    async with door.wire(lease) as wire:
        for line in (f"MAIL FROM:<{lease['address']}>", f"RCPT TO:<{FAR}>", "DATA"):
            assert (await wire.ask(line))[0] in "23"
        await lose(door.house, agent, lease)
        reply = await wire.ask("Subject: x\r\n\r\nlate\r\n.")
        assert reply[:3] in ("421", "450", "550"), reply
    assert await value(door.house, "SELECT count(*) FROM send_attempts WHERE tenant_id = $1", tenant(agent)) == 0


async def test_a_newer_lease_of_the_same_mailbox_is_somebody_elses(door: Door, agent: Agent) -> None:
    first = await agent.lease(local_part="again-and-again")
    async with door.wire(first) as wire:
        await released(door.house, agent, first)
        door.house.clock.advance(seconds=1)
        second = await agent.lease(local_part="again-and-again")
        assert second["mailbox_id"] == first["mailbox_id"]
        assert (await hand_in(wire, first["address"], MESSAGE, FAR)).startswith("421")
    assert await attempts(door.house, agent) == []


async def test_releases_race_with_mails(door: Door, agent: Agent) -> None:
    """A mail that was answered 250 was queued under a lease that lived; any other left nothing."""
    leases = [await agent.lease() for _ in range(5)]

    async def both(lease: dict[str, Any]) -> str:
        async with door.wire(lease) as wire:
            sending = asyncio.create_task(hand_in(wire, lease["address"], MESSAGE, FAR))
            await released(door.house, agent, lease)
            return await sending

    said = await asyncio.gather(*map(both, leases))
    taken = sum(reply.startswith("250") for reply in said)
    assert len(await attempts(door.house, agent)) == taken
    # Each reads the clock before the statement that decides, and on their way there one may overtake the other.
    late = """SELECT count(*) FROM send_attempts a JOIN leases l ON l.id = a.lease_id
              WHERE a.tenant_id = $1 AND a.created_at > l.released_at + interval '1 s'"""
    assert await value(door.house, late, tenant(agent)) == 0


# When a part is away


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Unavailable("away"), "451 4.3.0"),
        (StorageFull("full"), "452 4.3.1"),
        (ValueError("a mistake of ours"), "451 4.3.0"),
    ],
    ids=["away", "full", "mistake"],
)
async def test_a_mail_that_cannot_be_stored_stays_with_the_client(
    door: Door, lease: dict[str, Any], monkeypatch: pytest.MonkeyPatch, fault: Exception, code: str
) -> None:
    async def fails(*given: Any) -> None:
        raise fault

    monkeypatch.setattr("leasebox.sending.service.hand_in", fails)
    async with door.wire(lease) as wire:
        assert (await hand_in(wire, lease["address"], MESSAGE, FAR)).startswith(code)
        monkeypatch.undo()
        assert (await hand_in(wire, lease["address"], MESSAGE, FAR)).startswith("250"), "the session goes on"


async def test_without_a_database_clients_are_put_off(door: Door, lease: dict[str, Any]) -> None:
    url = door.house.settings.database_url
    assert url is not None
    away = await db.connect(url.reveal(), at_most=1)
    await away.close()
    async with submitting(door.house, database=away) as closed, closed.wire() as wire:
        assert (await wire.ask(plain(lease))).startswith("454 4.7.0")
