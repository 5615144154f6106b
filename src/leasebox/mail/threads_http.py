"""Routes of threads."""

import base64
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, get, patch
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from leasebox.identity.model import Caller
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, known_id, needs
from leasebox.leases.model import LeasePolicy
from leasebox.mail import service, threads
from leasebox.mail.http import LabelFilter, LabelPatch, labels_of
from leasebox.mail.model import Query
from leasebox.mail.threads import Summary
from leasebox.mail.threads_views import ThreadItem, ThreadView, thread_item, thread_view
from leasebox.values.clock import Clock
from leasebox.values.errors import BadRequest
from leasebox.values.ids import MailboxId, MessageId, ThreadId

ThreadCursor = Annotated[
    str | None, QueryParameter(pattern=r"^[A-Za-z0-9_-]{43}$", description="`next_cursor` of the page before.")
]


class ThreadRoutes(Controller):
    """Conversations: what came in and what went out, together."""

    path = "/v2/threads"
    tags = ["Reading"]

    db: Database
    clock: Clock
    policy: LeasePolicy

    @get("/", operation_id="list_threads", **needs("mail:read", 404))
    async def listed(
        self,
        caller: Given[Caller],
        mailbox_id: FromQuery[str | None] = None,
        label: LabelFilter = None,
        limit: Limit = 20,
        cursor: ThreadCursor = None,
    ) -> Page[ThreadItem]:
        """Threads, the one with the newest message first. `label`, also several times: threads that have all of them.

        What comes in while you read page after page does not change the list; begin anew to see it. Not metered.
        """
        query = Query(
            tenant_id=caller.tenant_id,
            within=caller.mailbox_ids,
            at=self.clock.now(),
            retention=self.policy.retention,
            mailbox_id=None if mailbox_id is None else known_id(MailboxId, mailbox_id),
            labels=labels_of(label),
        )
        below, upto = _place(cursor)

        async def body(tx: Tx) -> list[Summary]:
            if query.mailbox_id is not None:
                await service.require_readable_mailbox(tx, caller, query.mailbox_id, query.at)
            return await threads.listed(tx, query, below, upto, limit + 1)

        found = await self.db.read(body)
        shown = found[:limit]
        newest = upto or (found[0].place if found else None)
        following = _cursor(shown[-1], newest) if len(found) > limit and newest is not None else None
        return Page([thread_item(each) for each in shown], following)

    @get("/{thread_id:str}", operation_id="get_thread", **needs("mail:read", 404))
    async def one(
        self, caller: Given[Caller], thread_id: FromPath[str], limit: Limit = 50, cursor: CursorText = None
    ) -> ThreadView:
        """One thread with its messages, the oldest first, each with the new part of its text. Not metered."""
        wanted, now, behind = known_id(ThreadId, thread_id), self.clock.now(), after(cursor)
        start = None if behind is None else MessageId.of(behind)

        async def body(tx: Tx) -> tuple[Summary, list[Any]]:
            summary = await threads.get(tx, caller, wanted, self.policy, now)
            return summary, await threads.messages_of(tx, caller, wanted, start, limit + 1)

        summary, rows = await self.db.read(body)
        following = page(rows, limit, lambda row: None, lambda row: MessageId.of(row["id"])).next_cursor
        return thread_view(summary, rows[:limit], following)

    @patch("/{thread_id:str}", operation_id="label_thread", **needs("mail:read", 404, 422))
    async def relabel(self, caller: Given[Caller], thread_id: FromPath[str], data: JSONBody[LabelPatch]) -> ThreadItem:
        """Add and remove labels on every message of a thread; remove `unread` to mark it read."""
        wanted, now = known_id(ThreadId, thread_id), self.clock.now()
        return thread_item(
            await self.db.transact(
                lambda tx: threads.relabel(tx, caller, wanted, data.add_labels, data.remove_labels, self.policy, now)
            )
        )


def _place(cursor: str | None) -> tuple[UUID | None, UUID | None]:
    """The message that the page before ended with, and the newest one when the first page was read."""
    if cursor is None:
        return None, None
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=", altchars=b"-_", validate=True)
    except ValueError:
        raise BadRequest(
            "The cursor is not one of ours.", fix="Pass next_cursor exactly as the page before gave it."
        ) from None
    return UUID(bytes=raw[:16]), UUID(bytes=raw[16:])


def _cursor(last: Summary, newest: UUID) -> str:
    return base64.urlsafe_b64encode(last.place.bytes + newest.bytes).rstrip(b"=").decode()
