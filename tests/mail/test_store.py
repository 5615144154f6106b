"""The statements of receiving: claims that run out, mails that several lessees share, order of visibility."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec

from leasebox.infra.db import Tx
from leasebox.mail import store
from leasebox.mail.model import CLAIM_TTL, PendingMail
from leasebox.mail.store import Place
from leasebox.values.ids import LeaseId, MailboxId, MessageId, TenantId
from tests import kit_mail
from tests.kit import House
from tests.kit_mail import code_mail, mail, messages_of

shared_house = kit_mail.shared_house
GIB = 2**30


async def claim(house: House, limit: int = 100, smallest: int = 0, largest: int = GIB) -> list[PendingMail]:
    now = house.clock.now()
    return await house.db.transact(lambda tx: store.claim_mails(tx, now, limit, smallest, largest))


async def drop_pending(house: House) -> None:
    await kit_mail.change(house, "DELETE FROM mails WHERE state = 'pending'")


async def test_a_claimed_mail_is_as_it_was_sent(shared_house: House) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    raw = mail("Stored", "one\n.two\n..\nthree")
    async with kit_mail.accepting(shared_house) as post:
        reply = await post.send(raw, lease["address"], sender="bounce+1@shop.example")
    (pending,) = await claim(shared_house)
    assert pending.raw.endswith(raw)
    assert pending.raw.startswith(b"Return-Path: <bounce+1@shop.example>\r\nReceived: from client.example")
    assert (pending.mail_from, pending.helo, pending.tries) == ("bounce+1@shop.example", "client.example", 1)
    assert pending.client_address == "127.0.0.1"
    (to,) = pending.recipients
    assert reply.endswith(str(to.message_id))
    assert (str(to.lease_id), str(to.mailbox_id)) == (lease["lease_id"], lease["mailbox_id"])
    assert str(to.tenant_id) == agent.session["tenant_id"]
    await drop_pending(shared_house)


async def test_a_claim_keeps_others_away_until_it_runs_out(shared_house: House) -> None:
    lease = await (await shared_house.agent()).lease()
    async with kit_mail.accepting(shared_house) as post:
        await post.send(mail(), lease["address"])
    assert len(await claim(shared_house)) == 1
    assert await claim(shared_house) == []
    shared_house.clock.advance(seconds=CLAIM_TTL.total_seconds() - 5)
    assert await claim(shared_house) == []
    shared_house.clock.advance(seconds=6)
    (again,) = await claim(shared_house)
    assert again.tries == 2
    assert await shared_house.db.transact(lambda tx: store.finish_mail(tx, again.mail_id)) == 1
    assert await shared_house.db.transact(lambda tx: store.finish_mail(tx, again.mail_id)) == 0
    shared_house.clock.advance(hours=1)
    assert await claim(shared_house) == []


async def test_claims_at_once_share_the_mails_out_in_order(shared_house: House) -> None:
    lease = await (await shared_house.agent()).lease()
    async with kit_mail.accepting(shared_house) as post:
        for number in range(9):
            await post.send(code_mail(number), lease["address"])
    batches = await asyncio.gather(*(claim(shared_house, limit=3) for _ in range(4)))
    ids = [pending.mail_id for batch in batches for pending in batch]
    assert len(ids) == len(set(ids)) == 9
    assert all([pending.mail_id for pending in batch] == sorted(p.mail_id for p in batch) for batch in batches)
    await drop_pending(shared_house)


_PENDING = """
INSERT INTO mails (id, received_at, mail_from, helo, client_address, protocol, trace, content, accepted_for, state,
                   tries)
SELECT gen_random_uuid(), now(), '', '', '', '', '', convert_to(repeat('x', 500), 'UTF8'), '[]', 'pending', 0
FROM generate_series(1, 3000)
"""
_PAGES = (
    "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT FROM claim_mails(now(), gen_random_uuid(), 32, now(), 0, 65536)"
)


async def test_a_claim_does_not_go_through_all_that_was_parsed_before_it(house: House) -> None:
    """Until it is vacuumed the index of pending mails holds those that were; each claim used to read them all."""
    await kit_mail.change(house, _PENDING)
    await kit_mail.change(house, "UPDATE mails SET state = 'done'")
    looked = []
    for _ in range(3):
        (plan,) = msgspec.json.decode(await kit_mail.value(house, _PAGES))
        looked.append(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])
    assert looked[-1] < 60 < looked[0], looked


async def test_a_claim_waits_for_no_disk_and_what_follows_it_does(house: House) -> None:
    async def body(tx: Tx) -> list[str]:
        shown = [await tx.value("SHOW synchronous_commit")]
        await store.claim_mails(tx, house.clock.now(), 1, 0, GIB)
        return [*shown, await tx.value("SHOW synchronous_commit")]

    assert await house.db.transact(body) == ["on", "off"]
    assert await house.db.read(body) == ["on", "on"]


async def test_claims_are_narrowed_by_size(shared_house: House) -> None:
    lease = await (await shared_house.agent()).lease()
    small, large = mail("small"), mail("large", "words in a line\n" * 100)
    async with kit_mail.accepting(shared_house) as post:
        for raw in (large, small):
            await post.send(raw, lease["address"])
    assert await claim(shared_house, largest=len(small) - 1) == []
    assert [each.raw[-len(small) :] for each in await claim(shared_house, largest=len(small))] == [small]
    assert [each.raw[-len(large) :] for each in await claim(shared_house, smallest=len(large))] == [large]
    await drop_pending(shared_house)


async def test_two_lessees_who_delete_one_mail_at_once_leave_nothing_of_it(shared_house: House) -> None:
    agent, other = await shared_house.agent(), await shared_house.agent()
    mine, theirs = await agent.lease(), await other.lease()
    async with kit_mail.receiving(shared_house) as post:
        for _ in range(4):
            await post.deliver(mail("deleted by both"), mine["address"], theirs["address"])
    left = "SELECT count(*) FROM mails WHERE position('deleted by both'::bytea IN content) > 0"
    assert await kit_mail.value(shared_house, left) == 4
    first, second = await messages_of(agent), await messages_of(other)
    both = asyncio.Barrier(2)

    async def erase(tenant: Any, message: dict[str, Any]) -> None:
        async def body(tx: Tx) -> None:
            tenant_id, message_id = TenantId.parse(tenant.session["tenant_id"]), MessageId.parse(message["message_id"])
            row = await tx.one(
                "DELETE FROM messages WHERE tenant_id = $1 AND id = $2 RETURNING *", tenant_id, message_id
            )
            assert row is not None
            await both.wait()
            await store.drop_orphans(tx, [row["mail_id"]])

        await shared_house.db.transact(body)

    async with asyncio.timeout(20):
        for mine_is, theirs_is in zip(first, second, strict=True):
            await asyncio.gather(erase(agent, mine_is), erase(other, theirs_is))
    assert await kit_mail.value(shared_house, left) == 0


async def test_a_mail_stays_as_long_as_somebody_has_it(shared_house: House) -> None:
    agent, other = await shared_house.agent(), await shared_house.agent()
    mine, theirs = await agent.lease(), await other.lease()
    async with kit_mail.receiving(shared_house) as post:
        await post.deliver(mail("kept by one"), mine["address"], theirs["address"])
    tenant_id, mailbox_id = TenantId.parse(agent.session["tenant_id"]), MailboxId.parse(mine["mailbox_id"])
    erased = await shared_house.db.transact(lambda tx: store.erase_of_mailbox(tx, tenant_id, mailbox_id))
    assert erased == 1
    (message,) = await messages_of(other)
    assert (await other.http.get(message["raw_ref"])).status_code == 200
    lease_id = LeaseId.parse(theirs["lease_id"])
    assert await shared_house.db.transact(lambda tx: store.erase_of_leases(tx, [lease_id])) == 1
    left = "SELECT count(*) FROM mails WHERE position('kept by one'::bytea IN content) > 0"
    assert await kit_mail.value(shared_house, left) == 0


async def test_erasing_a_mailbox_is_scoped_by_tenant(shared_house: House) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    async with kit_mail.receiving(shared_house) as post:
        (message_id,) = await post.deliver(mail(), lease["address"])
    stranger, mailbox_id = TenantId.new(shared_house.clock.now()), MailboxId.parse(lease["mailbox_id"])
    wanted = MessageId.parse(message_id)
    assert await shared_house.db.transact(lambda tx: store.erase_of_mailbox(tx, stranger, mailbox_id)) == 0
    assert await shared_house.db.transact(lambda tx: store.erase_one(tx, stranger, wanted)) is None
    assert len(await messages_of(agent)) == 1


async def test_places_in_a_mailbox_are_given_in_the_order_of_commits(shared_house: House) -> None:
    lease = await (await shared_house.agent()).lease()
    mailbox_id = MailboxId.parse(lease["mailbox_id"])
    order: list[str] = []
    took, proceed = asyncio.Event(), asyncio.Event()

    async def slow(tx: Tx) -> Place:
        places = await store.next_places(tx, {mailbox_id: 2})
        took.set()
        await proceed.wait()
        order.append("slow")
        return places[mailbox_id]

    async def quick(tx: Tx) -> Place:
        places = await store.next_places(tx, {mailbox_id: 1})
        order.append("quick")
        return places[mailbox_id]

    first = asyncio.create_task(shared_house.db.transact(slow))
    await took.wait()
    second = asyncio.create_task(shared_house.db.transact(quick))
    await asyncio.sleep(0.05)
    proceed.set()
    assert (await first, await second) == (Place(1, 1), Place(3, 3))
    assert order == ["slow", "quick"]


async def test_only_leases_that_are_not_purged_get_messages(shared_house: House) -> None:
    agent = await shared_house.agent()
    kept, purged = await agent.lease(), await agent.lease()
    ids = [LeaseId.parse(each["lease_id"]) for each in (kept, purged)]
    mark = "UPDATE leases SET purged_at = expires_at WHERE id = $1"
    await kit_mail.change(shared_house, mark, ids[1])
    assert await shared_house.db.transact(lambda tx: store.lock_unerased(tx, ids)) == {ids[0]}


async def test_mail_is_taken_while_earlier_mail_of_its_lease_is_published(shared_house: House) -> None:
    lease = await (await shared_house.agent()).lease()
    lease_id, mailbox_id = LeaseId.parse(lease["lease_id"]), MailboxId.parse(lease["mailbox_id"])
    async with kit_mail.accepting(shared_house) as post:

        async def publishing(tx: Tx) -> str:
            await store.lock_unerased(tx, [lease_id])
            await store.next_places(tx, {mailbox_id: 1})
            async with asyncio.timeout(kit_mail.PATIENCE_S):
                return await post.send(code_mail(1), lease["address"])

        assert (await shared_house.db.transact(publishing)).startswith("250")
    await drop_pending(shared_house)


async def test_an_erasure_waits_for_mail_that_is_being_published(shared_house: House) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    lease_id, locked, proceed = LeaseId.parse(lease["lease_id"]), asyncio.Event(), asyncio.Event()

    async def publishing(tx: Tx) -> None:
        assert await store.lock_unerased(tx, [lease_id]) == {lease_id}
        locked.set()
        await proceed.wait()

    holding = asyncio.create_task(shared_house.db.transact(publishing))
    await locked.wait()
    erasing = asyncio.create_task(agent.http.delete(f"/v2/mailboxes/accounts/{lease['mailbox_id']}"))
    done, _ = await asyncio.wait([erasing], timeout=0.3)
    assert not done
    proceed.set()
    await holding
    assert (await erasing).status_code == 204
    assert await shared_house.db.transact(lambda tx: store.lock_unerased(tx, [lease_id])) == set()


async def test_a_thread_is_found_by_the_ids_it_refers_to(shared_house: House) -> None:
    agent, other = await shared_house.agent(), await shared_house.agent()
    lease, foreign = await agent.lease(), await other.lease()
    async with kit_mail.receiving(shared_house) as post:
        await post.deliver(mail("one", message_id="<1@shop.example>"), lease["address"], foreign["address"])
        await post.deliver(
            mail("two", message_id="<2@shop.example>", references="<0@shop.example> <1@shop.example>"), lease["address"]
        )
        await post.deliver(mail("three", in_reply_to="<2@shop.example>"), lease["address"])
        await post.deliver(mail("other", in_reply_to="<9@shop.example>"), lease["address"])
    threads = {each["subject"]: each["thread_id"] for each in await messages_of(agent)}
    assert threads["one"] == threads["two"] == threads["three"] != threads["other"]
    (theirs,) = await messages_of(other)
    assert theirs["thread_id"] != threads["one"]


async def test_proof_of_the_sender_is_added_to_every_copy(shared_house: House) -> None:
    agent = await shared_house.agent()
    first, second = await agent.lease(), await agent.lease()
    async with kit_mail.receiving(shared_house) as post:
        await post.deliver(mail(), first["address"], second["address"])
    found = "SELECT mail_id FROM messages WHERE lease_id = $1"
    mail_id = MessageId.of(await kit_mail.value(shared_house, found, LeaseId.parse(first["lease_id"])))
    told = {"spf": "fail", "dkim": "pass", "dmarc": "none"}
    await shared_house.db.transact(lambda tx: store.set_auth(tx, mail_id, told))
    assert [each["auth"] for each in await messages_of(agent)] == [told, told]


def test_a_claim_outlives_the_slowest_parse() -> None:
    # Four large mails share two workers; each may take two tries of 10 s, and then DNS.
    slowest = timedelta(seconds=2 * 2 * 10 + 5)
    assert slowest < CLAIM_TTL
