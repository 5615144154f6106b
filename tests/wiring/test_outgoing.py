"""Which way mail goes, what signs it, and the worker role that hands it over."""

import asyncio
from pathlib import Path

import pytest

from leasebox.leases import domains
from leasebox.leases.domains_jobs import ensure_own_keys
from leasebox.mail.dkim import verify
from leasebox.sending import return_path
from leasebox.sending.mx import ByMx
from leasebox.sending.relay import ByRelay, Nowhere, Router
from leasebox.values.ids import SendAttemptId, TenantId
from leasebox.values.keys import Purpose, ring
from leasebox.wiring.domains import dkim_keys
from leasebox.wiring.outgoing import SigningDesk, router
from tests.fakes.dns import FakeDns
from tests.fakes.relay import FakeRelay
from tests.kit import House, settings_for
from tests.kit_mail import until
from tests.sending.outgoing import Author, becomes, state_of
from tests.wiring.stage import serving


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"LEASEBOX_DNS": "off"}, Nowhere),
        ({"LEASEBOX_DNS": "127.0.0.1"}, ByMx),
        ({"LEASEBOX_DNS": "off", "LEASEBOX_RELAY": "smtp://relay.example"}, ByRelay),
        ({"LEASEBOX_DNS": "127.0.0.1", "LEASEBOX_RELAY": "smtp://relay.example"}, ByRelay),
    ],
    ids=["nowhere", "mx", "relay", "relay before mx"],
)
def test_the_settings_choose_the_way(
    database_url: str, redis_url: str, tmp_path: Path, changed: dict[str, str], kind: type[Router]
) -> None:
    assert type(router(settings_for(database_url, redis_url, str(tmp_path), **changed))) is kind


def desk_of(house: House, now: list[float]) -> SigningDesk:
    settings = house.settings
    paths = ring(settings.secret, settings.secret_previous, Purpose.RETURN_PATH)
    return SigningDesk(house.db, dkim_keys(settings), paths, now=lambda: now[0])


async def test_a_domain_is_signed_for_with_both_its_keys_and_a_change_is_seen_soon(house: House) -> None:
    now = [0.0]
    desk = desk_of(house, now)
    domain = house.settings.mail_domain
    tenant, other = TenantId.new(house.clock.now()), TenantId.new(house.clock.now())
    assert await desk.signers(tenant, domain) == ()
    await ensure_own_keys(house.db, dkim_keys(house.settings), [domain], house.clock)
    assert await desk.signers(tenant, domain) == (), "for half a minute"
    assert len(await desk.signers(other, domain)) == 2, "what is remembered for one is not taken for another"
    now[0] = 31.0
    first, second = await desk.signers(tenant, domain)
    assert {type(key.key).__name__ for key in (first, second)} == {"RSAPrivateKey", "Ed25519PrivateKey"}
    assert {first.domain, second.domain} == {domain}
    assert await desk.signers(tenant, "stranger.example") == ()


async def test_bounces_come_back_to_their_attempt(house: House) -> None:
    attempt = SendAttemptId.new(house.clock.now())
    local, _, domain = desk_of(house, [0.0]).return_path(attempt, "here.example").partition("@")
    assert domain == "here.example"
    keys = ring(house.settings.secret, None, Purpose.RETURN_PATH)
    assert return_path.read(keys, local) == attempt


async def test_the_worker_hands_over_what_is_queued_signed(
    house: House, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    author = await Author.new(house)
    domain = house.settings.mail_domain
    await ensure_own_keys(house.db, dkim_keys(house.settings), [domain], house.clock)
    async with FakeRelay().serving() as relay:
        url = f"smtp://127.0.0.1:{relay.port}?tls=off"
        with serving("worker", database_url, redis_url, tmp_path, LEASEBOX_RELAY=url) as role:
            attempt = await author.queue("one@there.example")
            await becomes(house, attempt, "sent")
            status, said = await asyncio.to_thread(role.stop)
    assert (status, said) == (0, "")
    [mail] = relay.mails
    records = {}
    for key in await house.db.read(lambda tx: domains.own_keys(tx, domain, house.clock.now())):
        records[f"txt {key.selector}._domainkey.{domain}"] = [key.text.encode()]
    assert [each.result for each in verify(mail.content, FakeDns(records), house.clock.now())] == ["pass", "pass"]
    keys = ring(house.settings.secret, None, Purpose.RETURN_PATH)
    assert return_path.read(keys, mail.sender.partition("@")[0]) == attempt


async def test_a_worker_that_is_told_to_stop_sends_what_it_began(
    house: House, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    author = await Author.new(house)
    async with FakeRelay().serving() as relay:
        url = f"smtp://127.0.0.1:{relay.port}?tls=off"
        attempts = [await author.queue(f"n{number}@d{number}.example") for number in range(30)]
        with serving("worker", database_url, redis_url, tmp_path, LEASEBOX_RELAY=url) as role:

            async def begun() -> bool:
                return bool(relay.mails)

            await until(begun)
            status, _ = await asyncio.to_thread(role.stop)
    assert status == 0
    states = [await state_of(house, attempt) for attempt in attempts]
    assert states.count("sent") == len(relay.mails)
    assert set(states) <= {"sent", "queued"}
