"""Routes of mail that belongs to the house: what strangers wrote to its role addresses, and complaints."""

from datetime import datetime
from typing import Literal

import msgspec
from asyncpg import Record
from litestar import Controller, Response, get
from litestar.params import FromPath, FromQuery

from leasebox.admin.door_http import TAGS, admits
from leasebox.admin.model import Right
from leasebox.infra.db import Database
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import known_id
from leasebox.mail import house
from leasebox.mail.http import download
from leasebox.values.ids import MessageId


class HouseMailItem(msgspec.Struct):
    """A mail to the house. Untrusted: envelope_sender, sender, subject.

    purpose: `complaint` for what came to complaints@ and fbl@, else `house`. addressed_to: which of our addresses.
    """

    mail_id: str
    purpose: str
    addressed_to: list[str]
    received_at: datetime
    envelope_sender: str
    sender: str
    subject: str
    client_address: str
    size_bytes: int


class HouseMailView(HouseMailItem):
    """The same with its text, untrusted too: it may ask for anything."""

    text: str


class AdminHouseMailRoutes(Controller):
    """Mail to postmaster@, abuse@, complaints@ and fbl@ of the shared domains. The oldest goes when it is too much."""

    path = "/v2/admin/house-mail"
    tags = TAGS

    db: Database

    @get("/", operation_id="admin_list_house_mail", **admits(Right.STEER))
    async def listed(
        self,
        purpose: FromQuery[Literal["house", "complaint"] | None] = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[HouseMailItem]:
        """House mail, newest first. None of it is answered by machine."""
        below = after(cursor)
        rows = await self.db.read(lambda tx: house.listed(tx, purpose, below, limit + 1))
        return page(rows, limit, _item, lambda row: row["id"])

    @get("/{mail_id:str}", operation_id="admin_get_house_mail", **admits(Right.STEER, 404))
    async def one(self, mail_id: FromPath[str]) -> HouseMailView:
        """One mail as text."""
        wanted = known_id(MessageId, mail_id)
        row = await self.db.read(lambda tx: house.get(tx, wanted))
        return HouseMailView(**msgspec.structs.asdict(_item(row)), text=row["body_text"])

    @get(
        "/{mail_id:str}/raw",
        operation_id="admin_get_raw_house_mail",
        media_type="message/rfc822",
        **admits(Right.STEER, 404),
    )
    async def raw(self, mail_id: FromPath[str]) -> Response[bytes]:
        """The mail byte for byte as SMTP received it, after our own Return-Path and Received lines."""
        wanted = known_id(MessageId, mail_id)
        content = await self.db.read(lambda tx: house.raw(tx, wanted))
        return download(content, "message/rfc822", f"{mail_id}.eml")


def _item(row: Record) -> HouseMailItem:
    return HouseMailItem(
        mail_id=str(MessageId.of(row["id"])),
        purpose=row["purpose"],
        addressed_to=list(row["concerns"]),
        received_at=row["received_at"],
        envelope_sender=row["mail_from"],
        sender=_field(row, "from"),
        subject=_field(row, "subject"),
        client_address=row["client_address"],
        size_bytes=row["size_bytes"],
    )


def _field(row: Record, name: str) -> str:
    return next((str(each["value"]) for each in row["headers"] if each["name"].lower() == name), "")
