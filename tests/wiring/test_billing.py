"""The price book that an instance starts with, and every fault in it at once."""

from pathlib import Path

import pytest

from leasebox.billing import price_list
from leasebox.billing.prices import DEFAULT_PRICES, Meter
from leasebox.config import ConfigFaults
from leasebox.values.money import Usdc
from leasebox.wiring.billing import counter, price_book, publish_prices
from tests.kit import House, settings_for


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
