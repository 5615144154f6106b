"""SQL of admin sessions."""

import secrets
from datetime import timedelta

from leasebox.admin import store
from leasebox.admin.model import AdminSessionId
from tests.kit import House


async def test_a_session_lives_until_its_end_or_its_revocation(house: House) -> None:
    at, token_hash = house.clock.now(), secrets.token_bytes(32)
    session, until = AdminSessionId.new(at), at + timedelta(hours=1)
    await house.db.transact(lambda tx: store.insert(tx, session, token_hash, "0x1", 1, at, until))

    async def is_live(after: timedelta) -> bool:
        return await house.db.read(lambda tx: store.find(tx, token_hash, at + after)) is not None

    assert await is_live(timedelta(minutes=59))
    assert not await is_live(timedelta(hours=1))
    assert await house.db.transact(lambda tx: store.revoke(tx, session, at)) == 1
    assert await house.db.transact(lambda tx: store.revoke(tx, session, at)) == 0
    assert not await is_live(timedelta())
