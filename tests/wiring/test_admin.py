"""What administers is bound to what the settings say."""

import pytest

from leasebox.admin.errors import AdminClosed, NotAnAdmin
from leasebox.admin.model import Role
from leasebox.identity.rates import RATE_NAMES
from leasebox.values.rate import Rate
from leasebox.wiring.admin import admins_of, rates_of
from tests.admin.desk import LISTED, WALLETS
from tests.kit import House, settings_for


async def test_the_settings_name_the_admins(house: House) -> None:
    settings = settings_for("postgresql://u:p@h/d", "redis://h", "/tmp/nowhere", LEASEBOX_ADMIN_WALLETS=LISTED)
    admins = admins_of(settings, house.base)
    admins.require_open()
    assert {admins.role_of(wallet.address) for wallet in WALLETS.values()} == set(Role)
    with pytest.raises(NotAnAdmin):
        admins.role_of("0x" + "0" * 40)
    with pytest.raises(AdminClosed):
        admins_of(house.settings, house.base).require_open()


async def test_the_settings_name_the_rates(house: House) -> None:
    settings = settings_for("postgresql://u:p@h/d", "redis://h", "/tmp/nowhere", LEASEBOX_CLAIM_RATE="7/d")
    rates = rates_of(settings, house.base)
    assert {name: rates.configured(name) for name in RATE_NAMES} == {
        "signin": Rate(0, 1),
        "tenant": Rate(0, 1),
        "claim": Rate(7, 86_400),
        "api": Rate(0, 1),
    }
