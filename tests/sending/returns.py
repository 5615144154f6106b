"""Mail that comes back to send attempts, for tests: an instance that takes it in, and reports as servers write them."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from leasebox.mail.house import HouseAddresses
from leasebox.mail.intake import GroupIntake
from leasebox.sending import return_path
from leasebox.sending.bounces import BounceDesk
from leasebox.values.ids import SendAttemptId
from leasebox.values.keys import KeyRing, Purpose, ring
from leasebox.wiring import process
from tests import kit_mail
from tests.kit import House
from tests.kit_mail import Post
from tests.sending.outgoing import Author


def paths(house: House) -> KeyRing:
    """What the house signs its return paths with."""
    return ring(house.settings.secret, None, Purpose.RETURN_PATH)


@contextlib.asynccontextmanager
async def taking_back(house: House) -> AsyncIterator[Post]:
    """SMTP with the house's own addresses, and a parser with the desk for them."""
    policy, keys = process.lease_policy(house.settings), paths(house)
    own = HouseAddresses(house.settings.mail_domains, lambda local: return_path.read(keys, local))
    intake = GroupIntake(house.db, policy, house.clock, own)
    desk = BounceDesk(house.db, policy, keys, house.clock)
    async with kit_mail.accepting_by(house, intake) as post, kit_mail.parsing(house, desk=desk):
        yield post


def back_to(house: House, attempt_id: SendAttemptId, domain: str = "inbox.leasebox.test") -> str:
    """The return path of an attempt."""
    return return_path.make(paths(house), attempt_id, domain)


async def sent(author: Author, *to: str) -> SendAttemptId:
    """An attempt whose recipients' server has taken the message."""
    attempt_id = await author.queue(*to)
    await kit_mail.change(author.house, "UPDATE send_hops SET state = 'done' WHERE attempt_id = $1", attempt_id)
    await kit_mail.change(author.house, "UPDATE send_recipients SET state = 'sent' WHERE attempt_id = $1", attempt_id)
    return attempt_id


def report(*people: tuple[str, str, str], diagnostic: str = "smtp; 550 no", subject: str = "Undelivered") -> bytes:
    """A delivery status notification: recipient, action and status of each."""
    groups = "".join(
        f"Final-Recipient: rfc822; {who}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: {diagnostic}\n\n"
        for who, action, status in people
    )
    mail = (
        f"From: MAILER-DAEMON@far.example\nSubject: {subject}\nMIME-Version: 1.0\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
        "--b\nContent-Type: text/plain\n\nWe could not.\n\n"
        f"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; far.example\n\n{groups}--b--\n"
    )
    return mail.replace("\n", "\r\n").encode()


def complaint(*people: str, path: str = "", kind: str = "abuse") -> bytes:
    """A complaint about the mail whose return path is given."""
    named = "".join(f"Original-Rcpt-To: {who}\n" for who in people)
    mail = (
        "From: loop@far.example\nSubject: Complaint\nMIME-Version: 1.0\n"
        "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n"
        "--b\nContent-Type: text/plain\n\nSomebody complained.\n\n"
        f"--b\nContent-Type: message/feedback-report\n\nFeedback-Type: {kind}\nUser-Agent: x\nVersion: 1\n{named}\n"
        f"--b\nContent-Type: message/rfc822\n\nReturn-Path: <{path}>\nSubject: Hello\n\nHello\n--b--\n"
    )
    return mail.replace("\n", "\r\n").encode()


async def recipients(house: House, attempt_id: SendAttemptId) -> list[tuple[str, str]]:
    """Address and state of each."""
    sql = "SELECT address, state FROM send_recipients WHERE attempt_id = $1 ORDER BY position"
    return [(row["address"], row["state"]) for row in await kit_mail.rows(house, sql, attempt_id)]


async def facts(house: House, author: Author, kind: str) -> list[dict[str, Any]]:
    """The payloads of a tenant's facts of one kind."""
    sql = "SELECT payload FROM facts WHERE tenant_id = $1 AND type = $2 ORDER BY id"
    return [row["payload"] for row in await kit_mail.rows(house, sql, author.tenant_id, kind)]


async def suppressed(house: House, author: Author) -> list[tuple[str, str]]:
    """Address and reason of each."""
    sql = "SELECT address, reason FROM suppressions WHERE tenant_id = $1 ORDER BY address"
    return [(row["address"], row["reason"]) for row in await kit_mail.rows(house, sql, author.tenant_id)]


async def counts(house: House, author: Author) -> tuple[int, int]:
    """Bounces and complaints of the author's mailbox."""
    sql = """SELECT bounce_count, complaint_count FROM mailbox_sends s JOIN mailboxes m ON m.id = s.mailbox_id
             WHERE m.address = $1"""
    found = await kit_mail.rows(house, sql, author.address)
    return (found[0]["bounce_count"], found[0]["complaint_count"]) if found else (0, 0)
