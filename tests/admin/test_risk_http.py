"""Policies that hold: denied domains, rates; and what risk shows."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from eth_account import Account

from leasebox.mail.denials import DeniedSenders
from leasebox.mail.smtp import Limits, Offer, serve
from tests import kit_mail
from tests.admin.desk import actor, admin, administered, audited, said, tenant_of
from tests.billing.shop import lease_with, use_up
from tests.kit import Agent, House
from tests.kit_mail import Post, mail

DENIED = "/v2/admin/risk/denied-domains/sender"
RATES = "/v2/admin/risk/rates"


@contextlib.asynccontextmanager
async def receiving(house: House) -> AsyncIterator[Post]:
    """SMTP as its role serves it, with the list of denied senders."""
    intake = kit_mail.intake_of(house)
    committing = asyncio.create_task(intake.run())
    server = await serve(
        intake,
        host="127.0.0.1",
        port=0,
        offer=Offer("mx.leasebox.test", house.settings.mail_domain),
        clock=house.clock,
        limits=Limits(per_client=0),
        senders=DeniedSenders(house.db, house.clock),
    )
    try:
        yield Post(house, server)
    finally:
        await server.close(grace_s=1)
        await kit_mail.cancelled(committing)


async def mail_from(post: Post, sender: str) -> str:
    async with post.wire() as wire:
        return await wire.ask(f"MAIL FROM:<{sender}>")


async def test_a_denied_sender_gets_550_within_a_second_and_others_do_not(run: House, owner: httpx.AsyncClient) -> None:
    lease = await (await run.agent()).lease()
    async with receiving(run) as post:
        assert (await post.send(mail(), lease["address"], sender="a@spam.example")).startswith("250")
        told = await said(await owner.post(DENIED, json={"domain": "Spam.Example", "note": "n"}))
        assert [(each["domain"], each["made_by"]) for each in told["items"]] == [("spam.example", actor())]
        run.clock.advance(seconds=1)
        for sender in ("a@spam.example", "a@SPAM.example", "x+y@mx1.spam.example", '"a b"@spam.example'):
            assert (await mail_from(post, sender)).startswith("550 5.7.1"), sender
        for sender in ("a@notspam.example", "a@spam.example.org", "a@example", "", "spam.example@ok.example"):
            assert (await mail_from(post, sender)).startswith("250"), sender
        assert (await post.send(mail(), lease["address"], sender="a@spam.example")).startswith("550 5.7.1")
        assert (await owner.delete(f"{DENIED}/spam.example")).status_code == 204
        run.clock.advance(seconds=1)
        assert (await post.send(mail(), lease["address"], sender="a@spam.example")).startswith("250")


async def test_denials_are_written_down_once(run: House, owner: httpx.AsyncClient) -> None:
    second = await admin(run, "operator")
    answers = await asyncio.gather(
        *(http.post(DENIED, json={"domain": "Bücher.example"}) for http in [owner, second] * 5)
    )
    assert {each.status_code for each in answers} == {200}
    assert [each["domain"] for each in (await said(await owner.get(DENIED)))["items"]] == ["xn--bcher-kva.example"]
    assert (await owner.delete(f"{DENIED}/xn--bcher-kva.example")).status_code == 204
    assert (await owner.delete(f"{DENIED}/xn--bcher-kva.example")).status_code == 404
    rows = await audited(run)
    assert [row["action"] for row in rows] == ["sender_domain.deny", "sender_domain.allow"]
    assert {row["resource"] for row in rows} == {"xn--bcher-kva.example"}


async def test_recipient_domains_are_a_list_of_their_own(run: House, owner: httpx.AsyncClient) -> None:
    path = DENIED.replace("sender", "recipient")
    await said(await owner.post(path, json={"domain": "never.example", "note": "by order"}))
    assert [each["note"] for each in (await said(await owner.get(path)))["items"]] == ["by order"]
    assert (await said(await owner.get(DENIED)))["items"] == []
    async with receiving(run) as post:
        assert (await mail_from(post, "a@never.example")).startswith("250")


@pytest.mark.parametrize("domain", ["a b", "-", "a..b", ".", "a.example.", "a" * 254, "a@b.example", "\u2603" * 100])
async def test_what_is_no_domain(run: House, owner: httpx.AsyncClient, domain: str) -> None:
    assert (await owner.post(DENIED, json={"domain": domain})).status_code == 400
    assert await audited(run) == []


async def test_there_are_two_lists(run: House, owner: httpx.AsyncClient) -> None:
    path = DENIED.replace("sender", "both")
    assert (await owner.get(path)).status_code == 404
    assert (await owner.post(path, json={"domain": "a.example"})).status_code == 404
    assert (await owner.delete(f"{path}/a.example")).status_code == 404


async def test_the_rate_of_new_tenants_is_felt_within_a_second(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with administered(database_url, redis_url, tmp_path, LEASEBOX_TENANT_RATE="1000/h") as house:
        owner = await admin(house)

        async def newcomer() -> int:
            http = house.client(address="198.51.100.7")
            wallet = Account.create()
            with contextlib.suppress(AssertionError):
                await Agent.signed_in(http, wallet)
                return 200
            return 429

        assert await newcomer() == 200
        told = await said(await owner.put(f"{RATES}/tenant", json={"count": 1, "seconds": 3600}))
        line = next(each for each in told["items"] if each["name"] == "tenant")
        assert (line["rate"], line["made_by"]) == ({"count": 1, "seconds": 3600}, actor())
        assert line["configured"] == {"count": 1000, "seconds": 3600}
        house.clock.advance(seconds=1)
        assert [await newcomer() for _ in range(3)].count(429) >= 2
        told = await said(await owner.delete(f"{RATES}/tenant"))
        assert next(each for each in told["items"] if each["name"] == "tenant")["made_by"] is None
        house.clock.advance(seconds=1)
        assert await newcomer() == 200
        details = [row["detail"] for row in await audited(house, action="rate.set")]
        assert [each["after"] for each in details] == [{"count": 1, "seconds": 3600}, None]


async def test_the_rate_of_claims_is_felt_within_a_second(database_url: str, redis_url: str, tmp_path: Path) -> None:
    async with administered(database_url, redis_url, tmp_path, LEASEBOX_CLAIM_RATE="1000/h") as house:
        owner, http = await admin(house), house.client(address="198.51.100.8")

        async def claim(name: str) -> int:
            return (await http.post("/v2/claims", json={"name": name})).status_code

        assert await claim("one") == 201
        await said(await owner.put(f"{RATES}/claim", json={"count": 1, "seconds": 3600}))
        house.clock.advance(seconds=1)
        assert 429 in [await claim(f"n{n}") for n in range(3)]


async def test_an_unknown_rate_is_a_404(run: House, owner: httpx.AsyncClient) -> None:
    assert (await owner.put(f"{RATES}/nothing", json={"count": 1, "seconds": 1})).status_code == 404
    assert (await owner.delete(f"{RATES}/smtp")).status_code == 404


async def test_refused_payments_are_risk_events(run: House, owner: httpx.AsyncClient) -> None:
    agent, other = await run.agent(), await run.agent()
    await use_up(agent, 5)
    assert (await lease_with(agent)).status_code == 402
    assert (await lease_with(agent, "v1.nothing")).status_code == 402
    await other.lease()

    async def events(**params: str) -> list[dict[str, str]]:
        items: list[dict[str, str]] = (await said(await owner.get("/v2/admin/risk/events", params=params)))["items"]
        return items

    found = await events()
    assert [each["error"] for each in found] == ["invalid_payment_proof", "payment_required"]
    assert {each["tenant_id"] for each in found} == {tenant_of(agent)}
    assert found[0]["reason"] == "malformed"
    assert [each["error"] for each in await events(error="payment_required")] == ["payment_required"]
    assert await events(tenant_id=tenant_of(other)) == []
    run.clock.advance(minutes=1)
    assert await events(since=run.clock.now().isoformat()) == []


async def test_bursts_of_new_tenants(run: House, owner: httpx.AsyncClient) -> None:
    for _ in range(3):
        await run.agent()

    async def bursts(at_least: int) -> list[int]:
        params = {"at_least": at_least}
        items = (await said(await owner.get("/v2/admin/risk/bursts", params=params)))["items"]
        return [each["tenants"] for each in items]

    assert sum(await bursts(1)) == 3
    assert await bursts(4) == []
