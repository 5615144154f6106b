"""Routes of reading mail."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, delete, get, patch
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from leasebox.billing.till_http import PaymentProof, Till
from leasebox.identity.model import Caller
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.listing import CursorText, Limit, MomentText, Page, after, moment, page
from leasebox.infra.web.routes import Given, known_id, needs, request_id
from leasebox.leases.model import LeasePolicy
from leasebox.mail import hot, mime, service
from leasebox.mail.model import Query
from leasebox.mail.views import ATTACHMENT_PREFIX, MessageItem, MessageView, item, item_of_json, whole
from leasebox.values.clock import Clock
from leasebox.values.errors import BadRequest, NotFound
from leasebox.values.ids import MailboxId, MessageId, ThreadId
from leasebox.values.paths import Route

LIST = Route("GET", "/v2/messages")
SearchText = Annotated[str | None, QueryParameter(min_length=1, max_length=200)]
LABEL_CHARS = 50
LabelFilter = Annotated[list[str] | None, QueryParameter(max_items=10)]
LabelText = Annotated[str, msgspec.Meta(min_length=1, max_length=50, pattern=r"^[a-z0-9][a-z0-9_.:-]*$")]
LabelList = Annotated[list[LabelText], msgspec.Meta(max_length=20)]


class LabelPatch(msgspec.Struct, forbid_unknown_fields=True):
    """Labels: 1 to 50 of a-z 0-9 _ . : -. A message begins with `received` and `unread`, or with `sent`."""

    add_labels: LabelList = []
    remove_labels: LabelList = []


class MessageRoutes(Controller):
    """Reading what came in and what went out."""

    path = "/v2/messages"
    tags = ["Reading"]

    db: Database
    clock: Clock
    policy: LeasePolicy
    till: Till

    @get("/", operation_id="list_messages", **needs("mail:read", 402, 404))
    async def listed(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        mailbox_id: FromQuery[str | None] = None,
        since: MomentText = None,
        until: MomentText = None,
        q: SearchText = None,
        label: LabelFilter = None,
        thread_id: FromQuery[str | None] = None,
        direction: FromQuery[Literal["inbound", "outbound"] | None] = None,
        limit: Limit = 20,
        cursor: CursorText = None,
        x_payment_proof: PaymentProof = None,
    ) -> Page[MessageItem]:
        """Messages of both directions, newest first. since is inclusive, until exclusive.

        q searches subject, people and text; `label`, also several times: messages that have all of them.
        """
        query = Query(
            tenant_id=caller.tenant_id,
            within=caller.mailbox_ids,
            at=self.clock.now(),
            retention=self.policy.retention,
            mailbox_id=None if mailbox_id is None else known_id(MailboxId, mailbox_id),
            since=moment(since, "since"),
            until=moment(until, "until"),
            text=searchable(q),
            labels=labels_of(label),
            thread_id=None if thread_id is None else known_id(ThreadId, thread_id),
            direction=direction,
        )
        below, demand = after(cursor), self.till.demand(request, LIST, x_payment_proof)

        async def body(tx: Tx) -> list[Any]:
            await self.till.admit(tx, caller, demand)
            if query.mailbox_id is not None:
                await service.require_readable_mailbox(tx, caller, query.mailbox_id, query.at)
            return await service.listed(tx, query, below, limit + 1)

        async def at_once(tx: Tx) -> Sequence[Any]:
            return await hot.listed(tx, self.till.ask(caller, demand), query, below, limit + 1)

        async with self.till.noting(caller, demand):
            if hot.lists(query):
                return page(await self.db.at_once(at_once), limit, item_of_json, _cursor_key)
            rows = await self.db.transact(body)
        return page(rows, limit, item, _cursor_key)

    @get("/{message_id:str}", operation_id="get_message", **needs("mail:read", 404))
    async def one(self, caller: Given[Caller], message_id: FromPath[str]) -> MessageView:
        """One message with text, HTML, headers, attachments, and every code and link found."""
        wanted, now = known_id(MessageId, message_id), self.clock.now()
        return whole(await self.db.read(lambda tx: service.get(tx, caller, wanted, self.policy, now)))

    @get(
        "/{message_id:str}/raw", operation_id="get_raw_message", media_type="message/rfc822", **needs("mail:read", 404)
    )
    async def raw(self, caller: Given[Caller], message_id: FromPath[str]) -> Response[bytes]:
        """The mail byte for byte as SMTP received it, after our own Return-Path and Received lines."""
        wanted, now = known_id(MessageId, message_id), self.clock.now()
        content = await self.db.read(lambda tx: service.get_raw(tx, caller, wanted, self.policy, now))
        return download(content, "message/rfc822", f"{message_id}.eml")

    @get(
        "/{message_id:str}/attachments/{attachment_id:str}",
        operation_id="get_attachment",
        media_type="application/octet-stream",
        **needs("mail:read", 404),
    )
    async def attachment(
        self, caller: Given[Caller], message_id: FromPath[str], attachment_id: FromPath[str]
    ) -> Response[bytes]:
        """One attachment, always as a download."""
        wanted, now = known_id(MessageId, message_id), self.clock.now()
        if not attachment_id.startswith(ATTACHMENT_PREFIX):
            raise NotFound("No such attachment.")
        content = await self.db.read(lambda tx: service.get_raw(tx, caller, wanted, self.policy, now))
        index = attachment_id.removeprefix(ATTACHMENT_PREFIX)
        # Up to 120 ms for the largest mail: off the event loop, so that nobody else waits for it.
        found = await asyncio.to_thread(mime.attachment, content, index)
        if found is None:
            raise NotFound("No such attachment.")
        return download(found.content, "application/octet-stream", found.filename)

    @patch("/{message_id:str}", operation_id="label_message", **needs("mail:read", 404, 422))
    async def relabel(
        self, caller: Given[Caller], message_id: FromPath[str], data: JSONBody[LabelPatch]
    ) -> MessageItem:
        """Add and remove labels; remove `unread` to mark a message read."""
        wanted, now = known_id(MessageId, message_id), self.clock.now()

        async def body(tx: Tx) -> Any:
            await service.relabel(tx, caller, wanted, data.add_labels, data.remove_labels, self.policy, now)
            return await service.get(tx, caller, wanted, self.policy, now)

        return item(await self.db.transact(body))

    @delete("/{message_id:str}", status_code=204, operation_id="delete_message", **needs("mail:read", 404))
    async def erase(self, request: Request[Any, Any, Any], caller: Given[Caller], message_id: FromPath[str]) -> None:
        """Erase a message for good."""
        wanted, now, trace = known_id(MessageId, message_id), self.clock.now(), request_id(request)
        await self.db.transact(lambda tx: service.delete(tx, caller, wanted, self.policy, now, trace))


def _cursor_key(row: Any) -> UUID:
    found: UUID = row["id"]
    return found


def searchable(text: str | None) -> str | None:
    """A search text that PostgreSQL takes. Raises BadRequest for a NUL, which no text there can hold."""
    if text is not None and "\x00" in text:
        raise BadRequest("A search text cannot hold a NUL character.")
    return text


def labels_of(given: list[str] | None) -> tuple[str, ...]:
    """The labels of a filter. Raises BadRequest for a text that no label can be."""
    wanted = tuple(dict.fromkeys(given or ()))
    if any(not 0 < len(each) <= LABEL_CHARS for each in wanted):
        raise BadRequest(f"A label is 1 to {LABEL_CHARS} characters long.")
    for each in wanted:
        searchable(each)
    return wanted


def download(content: bytes, media_type: str, filename: str) -> Response[bytes]:
    """Bytes that no browser shows in place (RFC 6266, RFC 8187): strangers wrote them."""
    plain = "".join(char if 31 < ord(char) < 127 and char not in '"\\' else "_" for char in filename)
    return Response(
        content,
        media_type=media_type,
        headers={
            "content-disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}",
            "content-security-policy": "default-src 'none'; sandbox",
            "cache-control": "private, no-store",
        },
    )
