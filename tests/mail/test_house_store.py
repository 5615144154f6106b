"""SQL of house mail: who holds a mail, and that the oldest goes first, whoever comes at once."""

import asyncio
from datetime import timedelta

import pytest

from leasebox.mail import house_store
from leasebox.mail.model import HouseMail
from leasebox.mail.smtp_intake import Envelope, IncomingMail
from leasebox.values.ids import MessageId
from tests.kit import House
from tests.kit_mail import rows, value

ENVELOPE = Envelope("", (), (), "c", "192.0.2.1", "ESMTP", None, smtputf8=False)


def made(house: House, number: int, purpose: str = "house", octets: int = 10) -> HouseMail:
    at = house.clock.now() + timedelta(seconds=number)
    mail = IncomingMail(ENVELOPE, at, b"trace", b"x" * octets)
    return HouseMail(mail, MessageId.new(at), purpose, ("abuse@inbox.leasebox.test",))  # type: ignore[arg-type]


async def test_the_oldest_goes_first(house: House) -> None:
    mails = [made(house, number) for number in range(6)]
    await house.db.transact(lambda tx: house_store.insert(tx, mails))
    assert await house.db.transact(lambda tx: house_store.drop_oldest(tx, 4, 1_000)) == 2
    assert await house.db.transact(lambda tx: house_store.drop_oldest(tx, 4, 35)) == 1
    left = await rows(house, "SELECT id FROM mails ORDER BY id")
    assert [row["id"] for row in left] == [mail.mail_id for mail in mails[3:]]


async def test_what_came_back_is_not_counted_among_it(house: House) -> None:
    await house.db.transact(lambda tx: house_store.insert(tx, [made(house, 1, "return_path")]))
    assert await house.db.transact(lambda tx: house_store.drop_oldest(tx, 0, 0)) == 0


async def test_two_who_drop_at_once_drop_no_more_than_one(house: House) -> None:
    await house.db.transact(lambda tx: house_store.insert(tx, [made(house, number) for number in range(50)]))
    await asyncio.gather(*(house.db.transact(lambda tx: house_store.drop_oldest(tx, 20, 10_000)) for _ in range(8)))
    assert await value(house, "SELECT count(*) FROM mails") == 20


@pytest.mark.parametrize("purpose", ["house", "complaint", "return_path"])
async def test_one_of_many_parsers_holds_a_mail(house: House, purpose: str) -> None:
    mail = made(house, 1, purpose)
    await house.db.transact(lambda tx: house_store.insert(tx, [mail]))

    async def take() -> bool:
        async def work(tx: object) -> bool:
            if not await house_store.hold(tx, mail.mail_id):  # type: ignore[arg-type]
                return False
            await asyncio.sleep(0.02)
            await house_store.drop(tx, mail.mail_id)  # type: ignore[arg-type]
            return True

        return await house.db.transact(work)

    assert sum(await asyncio.gather(*(take() for _ in range(6)))) == 1
