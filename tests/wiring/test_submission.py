"""The submission door of the smtp role: a lease's credentials send; a return path at the MX finds its way back."""

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from leasebox.values.ids import SendAttemptId
from tests.kit import House
from tests.kit_mail import until, value
from tests.sending.returns import back_to, report
from tests.wiring.stage import Role, serving


def submit(role: Role, lease: dict[str, Any]) -> dict[str, tuple[int, bytes]]:
    """Hand one mail in; the recipients that were refused."""
    message = EmailMessage()
    message["To"] = "ann@far.example"
    message.set_content("Hello.\n")
    with smtplib.SMTP(*role.address("submission"), local_hostname="client.example", timeout=20) as client:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client.starttls(context=context)
        client.login(lease["webmail_login"], lease["webmail_password"])
        return client.send_message(message, from_addr=lease["address"])


def bounce(role: Role, path: str) -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP(*role.address("smtp"), local_hostname="client.example", timeout=20) as client:
        return client.sendmail("", [path], report(("ann@far.example", "failed", "5.1.1")))


async def test_a_mail_goes_out_and_its_bounce_comes_back(
    house: House, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    with (
        serving("smtp", database_url, redis_url, tmp_path) as role,
        serving("parser", database_url, redis_url, tmp_path) as parser,
    ):
        assert await asyncio.to_thread(submit, role, lease) == {}
        attempt_id = SendAttemptId.of(await value(house, "SELECT id FROM send_attempts"))
        assert await asyncio.to_thread(bounce, role, back_to(house, attempt_id)) == {}

        async def bounced() -> bool:
            return bool(await value(house, "SELECT count(*) FROM send_recipients WHERE state = 'bounced'"))

        await until(bounced)
        for each in (role, parser):
            assert await asyncio.to_thread(each.stop) == (0, "")
    told = await agent.http.get("/v2/messages", params={"label": "bounce"})
    assert [each["labels"] for each in told.json()["items"]] == [["received", "unread", "bounce"]]
