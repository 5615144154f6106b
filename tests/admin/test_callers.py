"""From a header to an admin."""

import pytest
from eth_account import Account

from leasebox.admin import service
from leasebox.admin.callers import Admins
from leasebox.admin.errors import AdminClosed, NotAnAdmin
from leasebox.admin.model import Role
from leasebox.identity.model import Signer
from leasebox.values.errors import Unauthorized
from tests.kit import House

WALLET = Account.create().address


async def token(house: House) -> str:
    signer, now = Signer(WALLET, 1, "administer"), house.clock.now()
    made = await house.db.transact(lambda tx: service.sign_in(tx, signer, Role.OWNER, now, "req"))
    return made.token.reveal()


async def test_a_session_is_found_and_its_role_is_the_lists(house: House) -> None:
    text = await token(house)
    admins = Admins(house.db, house.clock, {WALLET.lower(): Role.AUDITOR})
    for header in (f"Bearer {text}", f"bearer  {text} "):
        admin = await admins.resolve(header)
        assert (admin.wallet, admin.role) == (WALLET.lower(), Role.AUDITOR)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic {token}", "Bearer {token}x", "Bearer x{token}", "Bearer lbs_x"]
)
async def test_other_headers_are_refused(house: House, header: str | None) -> None:
    text = await token(house)
    admins = Admins(house.db, house.clock, {WALLET.lower(): Role.OWNER})
    with pytest.raises(Unauthorized):
        await admins.resolve(None if header is None else header.format(token=text))


async def test_who_is_not_listed_is_refused_with_a_good_token(house: House) -> None:
    text = await token(house)
    with pytest.raises(Unauthorized):
        await Admins(house.db, house.clock, {Account.create().address.lower(): Role.OWNER}).resolve(f"Bearer {text}")


def test_the_list(house: House) -> None:
    admins = Admins(house.db, house.clock, {WALLET.lower(): Role.VIEWER})
    admins.require_open()
    assert admins.role_of(WALLET) is Role.VIEWER
    with pytest.raises(NotAnAdmin):
        admins.role_of(Account.create().address)
    with pytest.raises(AdminClosed):
        Admins(house.db, house.clock, {}).require_open()
