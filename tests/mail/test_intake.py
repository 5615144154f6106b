"""Accepting mail over real SMTP: what RCPT says, 250 only after the commit, quotas, several lessees, faults."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from leasebox.infra import cache, db
from leasebox.infra.db import Database, StorageFull, Tx
from leasebox.mail import intake_store, store
from leasebox.mail.intake import GroupIntake
from leasebox.mail.smtp_intake import Envelope, IncomingMail, Stored
from leasebox.mail.smtp_replies import MailRefusal
from leasebox.values.addresses import Mailbox
from leasebox.values.errors import Unavailable
from leasebox.values.ids import LeaseId
from leasebox.wiring import process
from tests import kit_mail
from tests.kit import Agent, House
from tests.kit_mail import SENDER, Post, code_mail, mail, messages_of

shared_house = kit_mail.shared_house
post = kit_mail.shared_post


async def act(agent: Agent, lease: dict[str, Any], verb: str) -> None:
    answer = await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/{verb}")
    assert answer.status_code < 300, answer.text


async def freeze(house: House, lease: dict[str, Any]) -> None:
    frozen = "UPDATE leases SET frozen_at = $2 WHERE id = $1"
    await kit_mail.change(house, frozen, LeaseId.parse(lease["lease_id"]), house.clock.now())


async def fill(house: House, lease: dict[str, Any]) -> None:
    full = "UPDATE leases SET used_messages = 1000 WHERE id = $1"
    await kit_mail.change(house, full, LeaseId.parse(lease["lease_id"]))


async def release(house: House, agent: Agent, lease: dict[str, Any]) -> None:
    await act(agent, lease, "release")


async def pause(house: House, agent: Agent, lease: dict[str, Any]) -> None:
    await act(agent, lease, "pause")


async def run_out(house: House, agent: Agent, lease: dict[str, Any]) -> None:
    house.clock.advance(hours=1)


async def be_frozen(house: House, agent: Agent, lease: dict[str, Any]) -> None:
    await freeze(house, lease)


async def be_full(house: House, agent: Agent, lease: dict[str, Any]) -> None:
    await fill(house, lease)


Change = Callable[[House, Agent, dict[str, Any]], Awaitable[None]]
CHANGES: list[tuple[Change, str]] = [
    (release, "550 5.2.1"),
    (run_out, "550 5.2.1"),
    (be_frozen, "550 5.2.1"),
    (pause, "450 4.2.1"),
    (be_full, "452 4.2.2"),
]


@pytest.mark.parametrize(("change", "reply"), CHANGES)
async def test_rcpt_tells_what_became_of_a_lease(post: Post, change: Change, reply: str) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    assert (await post.rcpt(lease["address"])).startswith("250 2.1.5")
    await change(post.house, agent, lease)
    assert (await post.rcpt(lease["address"])).startswith(reply)


@pytest.mark.parametrize(("change", "reply"), CHANGES)
async def test_a_lease_that_changes_between_rcpt_and_content_decides_at_commit(
    post: Post, change: Change, reply: str
) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    before = await kit_mail.value(post.house, "SELECT count(*) FROM mails")
    async with post.wire() as wire:
        await wire.ask(f"MAIL FROM:<{SENDER}>")
        assert (await wire.ask(f"RCPT TO:<{lease['address']}>")).startswith("250")
        await change(post.house, agent, lease)
        assert (await wire.content(mail())).startswith(reply)
    assert await kit_mail.value(post.house, "SELECT count(*) FROM mails") == before


@pytest.mark.parametrize(
    ("address", "reply"),
    [
        ("nobody-at-all@inbox.leasebox.test", "550 5.1.1"),
        ("postmaster@inbox.leasebox.test", "550 5.1.1"),
        ("someone@gmail.com", "550 5.7.1"),
        ("someone@sub.inbox.leasebox.test", "550 5.7.1"),
        ("someone@[127.0.0.1]", "550 5"),
    ],
)
async def test_addresses_that_nobody_leased(post: Post, address: str, reply: str) -> None:
    assert (await post.rcpt(address)).startswith(reply)


async def test_case_and_tags_lead_to_the_same_mailbox(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease(local_part="tagged")
    to = ["tagged@inbox.leasebox.test", "TAGGED@Inbox.Leasebox.Test", "tagged+news@inbox.leasebox.test"]
    (message_id,) = await post.deliver(mail(), *to)
    assert [each["message_id"] for each in await messages_of(agent)] == [message_id]
    assert (await agent.http.get(f"/v2/mailboxes/leases/{lease['lease_id']}")).json()["used_messages"] == 1


async def test_nothing_is_said_before_the_commit(post: Post) -> None:
    lease = await (await post.house.agent()).lease()
    locked, proceed = asyncio.Event(), asyncio.Event()

    async def hold(tx: Tx) -> None:
        await tx.run("SELECT FROM leases WHERE id = $1 FOR UPDATE", LeaseId.parse(lease["lease_id"]))
        locked.set()
        await proceed.wait()

    holding = asyncio.create_task(post.house.db.transact(hold))
    await locked.wait()
    sending = asyncio.create_task(post.send(mail(), lease["address"]))
    await kit_mail.until(lambda: waiting_statements(post.house))
    done, _ = await asyncio.wait([sending], timeout=0.1)
    assert not done
    proceed.set()
    await holding
    assert (await sending).startswith("250 2.0.0")


async def test_a_connection_lost_during_the_commit_is_451_and_stores_nothing(post: Post) -> None:
    house = post.house
    lease = await (await house.agent()).lease()
    before = await kit_mail.value(house, "SELECT count(*) FROM mails")
    locked, proceed = asyncio.Event(), asyncio.Event()

    async def hold(tx: Tx) -> None:
        await tx.run("SELECT FROM leases WHERE id = $1 FOR UPDATE", LeaseId.parse(lease["lease_id"]))
        locked.set()
        await proceed.wait()

    holding = asyncio.create_task(house.db.transact(hold))
    await locked.wait()
    sending = asyncio.create_task(post.send(mail(), lease["address"]))
    await kit_mail.until(lambda: waiting_statements(house))
    await kit_mail.value(
        house,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    assert (await sending).startswith("451 4.3.0")
    proceed.set()
    await holding
    assert await kit_mail.value(house, "SELECT count(*) FROM mails") == before
    assert (await post.send(mail(), lease["address"])).startswith("250")


async def test_a_database_that_is_away_is_451_from_rcpt_on(shared_house: House) -> None:
    assert shared_house.settings.database_url is not None
    gone = await db.connect(shared_house.settings.database_url.reveal())
    await gone.close()
    intake = GroupIntake(gone, process.lease_policy(shared_house.settings), shared_house.clock)
    async with kit_mail.serving(shared_house, intake) as post:
        assert (await post.rcpt("somebody@inbox.leasebox.test")).startswith("451 4.3.0")


FAULTS = [
    (StorageFull("full"), "452 4.3.1"),
    (Unavailable("away"), "451 4.3.0"),
    (RuntimeError("ours"), "451 4.3.0"),
]


@pytest.mark.parametrize(("fault", "reply"), FAULTS)
async def test_a_fault_while_taking_at_once_refuses_for_now_and_stores_nothing(
    post: Post, monkeypatch: pytest.MonkeyPatch, fault: Exception, reply: str
) -> None:
    lease = await (await post.house.agent()).lease()
    before = await kit_mail.value(post.house, "SELECT count(*) FROM mails")

    async def fail(*_: Any) -> bool:
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(intake_store, "take", fail)
        assert (await post.send(mail(), lease["address"])).startswith(reply)
    assert await kit_mail.value(post.house, "SELECT count(*) FROM mails") == before
    assert (await post.send(mail(), lease["address"])).startswith("250")


async def test_mails_as_their_rcpt_found_them_take_one_statement(
    shared_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await shared_house.agent()
    one, two = await agent.lease(local_part="one-statement"), await agent.lease()
    transactions: list[object] = []
    transact = shared_house.db.transact

    async def counted(body: Any) -> Any:
        transactions.append(body)
        return await transact(body)

    async with kit_mail.accepting(shared_house) as post, kit_mail.parsing(shared_house):
        with monkeypatch.context() as patched:
            patched.setattr(shared_house.db, "transact", counted)
            sent = [post.send(mail(str(each)), one["address"], two["address"]) for each in range(9)]
            assert {reply[:3] for reply in await asyncio.gather(*sent)} == {"250"}
            assert (await post.send(mail("tag"), "one-statement+tag@inbox.leasebox.test")).startswith("250")
            both = (one["address"], "one-statement+tag@inbox.leasebox.test")
            assert (await post.send(mail("both"), *both)).startswith("250")
            assert transactions == []
        await post.parsed()
    subjects = [each["subject"] for each in await messages_of(agent, mailbox_id=one["mailbox_id"])]
    assert sorted(subjects) == [*map(str, range(9)), "both", "tag"]


@pytest.mark.parametrize(("fault", "reply"), FAULTS)
async def test_a_fault_while_storing_refuses_for_now_and_stores_nothing(
    post: Post, monkeypatch: pytest.MonkeyPatch, fault: Exception, reply: str
) -> None:
    lease = await (await post.house.agent()).lease()
    before = await kit_mail.value(post.house, "SELECT count(*) FROM mails")
    insert = store.insert_mails

    async def insert_and_fail(tx: Tx, batch: Any) -> None:
        await insert(tx, batch)
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(GroupIntake, "_loads", lambda *_: None)  # one by one
        patched.setattr(store, "insert_mails", insert_and_fail)
        assert (await post.send(mail(), lease["address"])).startswith(reply)
    assert await kit_mail.value(post.house, "SELECT count(*) FROM mails") == before
    used = "SELECT used_bytes + used_messages FROM leases WHERE id = $1"
    assert await kit_mail.value(post.house, used, LeaseId.parse(lease["lease_id"])) == 0
    assert (await post.send(mail(), lease["address"])).startswith("250")


def incoming(house: House, address: str, mail_from: str = SENDER) -> IncomingMail:
    envelope = Envelope(mail_from, (address,), (address,), "client.example", "192.0.2.1", "ESMTP", None, False)
    return IncomingMail(envelope, house.clock.now(), b"Received: here\r\n", mail())


async def test_a_poison_mail_costs_its_group_nothing(shared_house: House) -> None:
    house = shared_house
    lease = await (await house.agent()).lease()
    intake = kit_mail.intake_of(house)
    mails = [incoming(house, lease["address"], "nul\x00@x.example" if place == 3 else SENDER) for place in range(8)]
    waiting = [asyncio.create_task(intake.accept(each)) for each in mails]
    await asyncio.sleep(0)
    committing = asyncio.create_task(intake.run())
    verdicts = await asyncio.gather(*waiting)
    await kit_mail.cancelled(committing)
    assert [place for place, verdict in enumerate(verdicts) if not isinstance(verdict, Stored)] == [3]
    assert verdicts[3] is MailRefusal.FAILED
    used = "SELECT used_messages FROM leases WHERE id = $1"
    assert await kit_mail.value(house, used, LeaseId.parse(lease["lease_id"])) == 7


async def test_what_queued_meanwhile_is_committed_together(shared_house: House) -> None:
    house = shared_house
    lease = await (await house.agent()).lease()
    intake = kit_mail.intake_of(house)
    waiting = [asyncio.create_task(intake.accept(incoming(house, lease["address"]))) for _ in range(200)]
    await asyncio.sleep(0)
    committing = asyncio.create_task(intake.run())
    verdicts = await asyncio.gather(*waiting)
    await kit_mail.cancelled(committing)
    ids = [verdict.message_ids[0] for verdict in verdicts if isinstance(verdict, Stored)]
    assert len(set(ids)) == 200
    commits = await kit_mail.value(
        house,
        "SELECT count(DISTINCT xmin::text) FROM mails WHERE client_address = '192.0.2.1' AND state = 'pending'"
        " AND accepted_for::text LIKE '%' || $1 || '%'",
        str(LeaseId.parse(lease["lease_id"])),
    )
    assert commits <= 3


async def test_few_leases_are_remembered_and_what_is_forgotten_costs_no_mail(
    shared_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leasebox.mail.intake._REMEMBERED", 2)
    agent = await shared_house.agent()
    addresses = [(await agent.lease())["address"] for _ in range(5)]
    intake = kit_mail.intake_of(shared_house)
    async with kit_mail.accepting_by(shared_house, intake) as post:
        assert (await post.send(mail("to all"), *addresses)).startswith("250")
        assert len(intake._known) == 2
        assert (await post.send(mail("to one"), addresses[0])).startswith("250")
    async with kit_mail.parsing(shared_house):
        await post.parsed()
    assert len(await messages_of(agent)) == 6


async def test_the_number_of_mails_is_exact_under_concurrency(shared_house: House) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    async with kit_mail.accepting(shared_house, quota_messages=5) as post:
        replies = await asyncio.gather(*(post.send(code_mail(each), lease["address"]) for each in range(14)))
        assert sorted(reply[:9] for reply in replies) == ["250 2.0.0"] * 5 + ["452 4.2.2"] * 9
        assert (await post.rcpt(lease["address"])).startswith("452 4.2.2")
    shown = (await agent.http.get(f"/v2/mailboxes/leases/{lease['lease_id']}")).json()
    assert shown["used_messages"] == 5


async def test_the_bytes_are_exact_over_two_mail_servers(shared_house: House) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease(local_part="two-servers")
    async with kit_mail.accepting(shared_house) as post:
        await post.send(code_mail(10), lease["address"])
    size = await kit_mail.value(
        shared_house, "SELECT used_bytes FROM leases WHERE id = $1", LeaseId.parse(lease["lease_id"])
    )
    quota = {"quota_bytes": 5 * size + size // 2}
    async with kit_mail.accepting(shared_house, **quota) as one, kit_mail.accepting(shared_house, **quota) as two:
        sends = [each.send(code_mail(10), lease["address"]) for each in (one, two) * 6]
        replies = await asyncio.gather(*sends)
    # Dates and ids in our trace are of one length, so every copy takes the same room.
    assert sorted(reply[:9] for reply in replies) == ["250 2.0.0"] * 4 + ["452 4.2.2"] * 8
    shown = (await agent.http.get(f"/v2/mailboxes/leases/{lease['lease_id']}")).json()
    assert (shown["used_bytes"], shown["used_messages"]) == (5 * size, 5)


async def test_of_several_recipients_the_full_one_is_refused_at_rcpt(shared_house: House) -> None:
    """Else the whole mail would be put off for ever: its content has one verdict for all."""
    agent = await shared_house.agent()
    full, free = await agent.lease(), await agent.lease()
    used = "UPDATE leases SET used_bytes = $2 WHERE id = $1"
    async with kit_mail.accepting(shared_house, quota_bytes=10_000) as post:
        await kit_mail.change(shared_house, used, LeaseId.parse(full["lease_id"]), 9_000)
        raw = mail(text="x" * 900 + "\ny" * 300)
        async with post.wire() as wire:
            assert (await wire.ask(f"MAIL FROM:<{SENDER}> SIZE={len(raw)}")).startswith("250")
            assert (await wire.ask(f"RCPT TO:<{full['address']}>")).startswith("452 4.2.2")
            assert (await wire.ask(f"RCPT TO:<{free['address']}>")).startswith("250")
            assert (await wire.content(raw)).startswith("250")
        assert (await post.rcpt(full["address"])).startswith("250"), "a mail of unknown size may fit"


async def test_lessees_of_one_mail_get_a_message_each_and_see_nobody_else(post: Post) -> None:
    agent, other = await post.house.agent(), await post.house.agent()
    mine, mine_too, theirs = await agent.lease(), await agent.lease(), await other.lease()
    before = await kit_mail.value(post.house, "SELECT count(*) FROM mails")
    ids = await post.deliver(mail("shared"), mine["address"], theirs["address"], mine_too["address"])
    assert await kit_mail.value(post.house, "SELECT count(*) FROM mails") == before + 1
    seen, foreign = await messages_of(agent), await messages_of(other)
    assert {each["message_id"] for each in seen + foreign} == set(ids)
    assert {each["mailbox_id"] for each in seen} == {mine["mailbox_id"], mine_too["mailbox_id"]}
    assert [each["mailbox_id"] for each in foreign] == [theirs["mailbox_id"]]
    for message in foreign:
        raw = (await other.http.get(message["raw_ref"])).text
        whole = (await other.http.get(f"/v2/messages/{message['message_id']}")).text
        assert mine["address"] not in raw + whole
        for path in ("", "/raw", "/attachments/att_2"):
            answer = await agent.http.get(f"/v2/messages/{message['message_id']}{path}")
            assert answer.status_code == 404


async def test_one_of_several_that_ended_meanwhile_puts_the_mail_off(post: Post) -> None:
    agent = await post.house.agent()
    ended, live = await agent.lease(), await agent.lease()
    async with post.wire() as wire:
        await wire.ask(f"MAIL FROM:<{SENDER}>")
        for lease in (ended, live):
            assert (await wire.ask(f"RCPT TO:<{lease['address']}>")).startswith("250")
        await act(agent, ended, "release")
        assert (await wire.content(mail())).startswith("451")
    assert await messages_of(agent) == []
    async with post.wire() as wire:
        await wire.ask(f"MAIL FROM:<{SENDER}>")
        replies = [(await wire.ask(f"RCPT TO:<{lease['address']}>"))[:3] for lease in (ended, live)]
        assert replies == ["550", "250"]
        assert (await wire.content(mail())).startswith("250")


async def test_release_and_mail_at_once_leave_a_mail_readable_or_refused(post: Post) -> None:
    """I1: whatever was answered 250 is readable by its lessee, even when the release committed right after."""
    agent = await post.house.agent()
    for number in range(12):
        lease = await agent.lease()
        sending = asyncio.create_task(post.send(code_mail(number), lease["address"]))
        await asyncio.sleep(number / 1_500)
        await act(agent, lease, "release")
        reply = await sending
        await post.parsed()
        found = [each["message_id"] for each in await messages_of(agent, mailbox_id=lease["mailbox_id"])]
        assert found == re.findall(r"msg_\w+", reply)
        assert reply[:3] in ("250", "550")


async def test_mail_is_taken_and_found_while_redis_is_away(shared_house: House, tmp_path: Path) -> None:
    house = shared_house
    assert house.settings.database_url is not None
    nobody = cache.connect(f"unix://{tmp_path}/nobody", house.clock)
    database: Database = await db.connect(house.settings.database_url.reveal(), wakes=nobody)
    intake = GroupIntake(database, process.lease_policy(house.settings), house.clock)
    committing = asyncio.create_task(intake.run())
    agent = await house.agent()
    lease = await agent.lease()
    async with kit_mail.serving(house, intake) as post, kit_mail.parsing(house):
        await post.deliver(mail("without Redis"), lease["address"])
    assert [each["subject"] for each in await messages_of(agent)] == ["without Redis"]
    await kit_mail.cancelled(committing)
    await database.close()
    await nobody.close()


async def test_an_address_that_changed_hands_belongs_to_the_new_lessee(post: Post) -> None:
    """Leasing a released address to read its mail: mail taken for the old lease stays with it (I7)."""
    house = post.house
    agent, other = await house.agent(), await house.agent()
    old = await agent.lease(local_part="changed-hands")
    await post.deliver(mail("for the first"), old["address"])
    await act(agent, old, "release")
    house.clock.advance(days=90)
    agent, other = await house.agent(agent.wallet), await house.agent(other.wallet)
    new = await other.lease(local_part="changed-hands")
    assert await messages_of(other) == []
    await post.deliver(mail("for the second"), new["address"])
    assert [each["subject"] for each in await messages_of(other)] == ["for the second"]
    assert await messages_of(agent) == []
    assert (await agent.http.get("/v2/messages", params={"mailbox_id": new["mailbox_id"]})).status_code == 404


async def test_rcpt_asks_without_a_server_too(shared_house: House) -> None:
    lease = await (await shared_house.agent()).lease()
    verdict = await kit_mail.intake_of(shared_house).rcpt(Mailbox.parse(lease["address"]), 0)
    assert verdict.value.code == 250


async def waiting_statements(house: House) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return int(await kit_mail.value(house, waiting)) > 0
