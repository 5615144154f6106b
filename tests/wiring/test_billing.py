"""The price book that an instance starts with, and every fault in it at once."""

from pathlib import Path

import pytest

from leasebox.billing import price_list
from leasebox.billing.prices import DEFAULT_PRICES, Meter
from leasebox.config import ConfigFaults
from leasebox.values.money import Usdc
from leasebox.wiring.billing import counter, price_book, publish_prices
from tests.fakes.clock import FakeClock
from tests.kit import SECRET, House, opened, settings_for


async def test_an_instance_starts_with_its_prices_in_force(house: House) -> None:
    found = {each.meter: each.version for each in await house.db.read(price_list.current)}
    assert found == dict.fromkeys(Meter, 1)
    await publish_prices(house.settings, house.base)
    assert len(await house.db.read(price_list.history)) == len(Meter)


def test_the_default_book() -> None:
    settings = settings_for("postgresql://u:p@h/d", "redis://h", "/tmp/nowhere")
    assert price_book(settings) is DEFAULT_PRICES


def test_a_book_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[meters."mailbox.lease"]\nfree = 1\nwindow = "day"\nprice = "0.5"\n')
    settings = settings_for("postgresql://u:p@h/d", "redis://h", str(tmp_path), LEASEBOX_PRICES=str(file))
    assert price_book(settings).of(Meter.MAILBOX_LEASE).price == Usdc(500_000)


def test_all_faults_of_a_book_are_told_together(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[meters."mailbox.lease"]\nfree = -1\nwindow = "year"\nprice = 0.5\n')
    settings = settings_for("postgresql://u:p@h/d", "redis://h", str(tmp_path), LEASEBOX_PRICES=str(file))
    with pytest.raises(ConfigFaults) as refused:
        price_book(settings)
    assert len(refused.value.faults) == 3
    assert all(fault.startswith("LEASEBOX_PRICES: ") for fault in refused.value.faults)
    file.unlink()
    with pytest.raises(ConfigFaults):
        price_book(settings)


async def test_no_key_of_the_counter_serves_two_ends(house: House) -> None:
    desk = counter(house.settings, house.base)
    assert desk.proof_keys.current.kid != desk.once._keys.current.kid


async def test_a_proof_outlives_a_change_of_the_master_key(database_url: str, redis_url: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[meters."mailbox.lease"]\nfree = 0\nwindow = "day"\nprice = "0.001"\n')
    more = {"LEASEBOX_PRICES": str(file)}
    async with opened(settings_for(database_url, redis_url, str(tmp_path), **more), FakeClock()) as before:
        agent = await before.agent()
        asked = await agent.http.post("/v2/payments/proof", json={"method": "POST", "path": "/v2/mailboxes/leases"})
        proof = asked.json()["x_payment_proof"]
    order = {"agent_id": agent.agent_id, "purpose": "test", "ttl_hours": 1}
    headers = {"authorization": agent.http.headers["authorization"], "x-payment-proof": proof}
    fresh = {**more, "LEASEBOX_SECRET": "another master key that only tests use, 40+"}
    async with opened(settings_for(database_url, redis_url, str(tmp_path), **fresh), FakeClock()) as forgetful:
        answer = await forgetful.client(headers).post("/v2/mailboxes/leases", json=order)
        assert (answer.status_code, answer.json()["reason"]) == (402, "unknown_key")
    rotated = {**fresh, "LEASEBOX_SECRET_PREVIOUS": SECRET}
    async with opened(settings_for(database_url, redis_url, str(tmp_path), **rotated), FakeClock()) as careful:
        answer = await careful.client(headers).post("/v2/mailboxes/leases", json=order)
        assert answer.status_code == 201, answer.text
