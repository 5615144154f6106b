"""The smtp role: takes mail for live leases, with STARTTLS by its own certificate, and drains."""

import asyncio
import smtplib
import ssl
from pathlib import Path

from leasebox.values.rate import Rate
from leasebox.wiring.smtp import MailRate
from tests.kit import House
from tests.kit_mail import code_mail
from tests.wiring.stage import Role, serving


def speak(role: Role, address: str) -> list[int]:
    """The codes of a session that sends one mail over TLS, and asks for an unknown address."""
    with smtplib.SMTP(*role.address("smtp"), local_hostname="client.example", timeout=20) as smtp:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        codes = [smtp.starttls(context=context)[0], smtp.ehlo()[0], smtp.mail("a@b.example")[0]]
        codes += [smtp.rcpt("nobody@inbox.leasebox.test")[0], smtp.rcpt("a@elsewhere.example")[0]]
        return [*codes, smtp.rcpt(address)[0], smtp.data(code_mail(1))[0]]


async def test_it_takes_mail_for_leases_and_drains(
    house: House, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    lease = await (await house.agent()).lease()
    with serving("smtp", database_url, redis_url, tmp_path) as role:
        codes = await asyncio.to_thread(speak, role, lease["address"])
        status, said = await asyncio.to_thread(role.stop)
    assert codes[:3] == [220, 250, 250]
    assert codes[3] == 550
    assert 550 <= codes[4] < 560
    assert codes[5:] == [250, 250]
    assert await house.db.read(lambda tx: tx.value("SELECT count(*) FROM mails WHERE state = 'pending'")) == 1
    assert (status, said) == (0, "")
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "tls").glob("*key*")} == {0}


async def test_its_rate_port_draws_from_the_shared_buckets(house: House) -> None:
    first, second = (MailRate(house.base.cache, Rate(2, 3600)) for _ in range(2))
    key = "192.0.2.201"
    assert [await each.take(key) for each in (first, second, first)] == [True, True, False]
    assert await first.take("192.0.2.202")
