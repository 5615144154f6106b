"""Verbs of admins' sessions."""

from datetime import timedelta

from eth_account import Account

from leasebox.admin import service
from leasebox.admin.model import Role
from leasebox.identity.model import Signer
from tests.kit import House

SIGNER = Signer(Account.create().address, 1, "administer")


async def count(house: House, sql: str) -> int:
    return int(await house.db.read(lambda tx: tx.value(sql)))


async def test_old_sessions_are_forgotten(house: House) -> None:
    now = house.clock.now()
    await house.db.transact(lambda tx: service.sign_in(tx, SIGNER, Role.OWNER, now, "req"))
    assert await house.db.transact(lambda tx: service.forget_sessions(tx, now)) == 0
    late = now + timedelta(hours=2)
    assert await house.db.transact(lambda tx: service.forget_sessions(tx, late)) == 1
    assert await count(house, "SELECT count(*) FROM admin_sessions") == 0


async def test_signing_out_twice_is_written_down_once(house: House) -> None:
    now = house.clock.now()
    made = await house.db.transact(lambda tx: service.sign_in(tx, SIGNER, Role.OWNER, now, "req"))
    for _ in range(2):
        await house.db.transact(lambda tx: service.sign_out(tx, made.admin, now, "req"))
    assert await count(house, "SELECT count(*) FROM audit_rows WHERE action = 'admin.sign_out'") == 1
