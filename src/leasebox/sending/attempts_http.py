"""Routes of send attempts: what became of each message that was sent, to the last reply of the last server."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from asyncpg import Record
from litestar import Controller, Request, Response, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from leasebox.identity.model import Caller
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.idempotency import IdempotencyKey, Once
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, known_id, needs, request_id
from leasebox.sending import attempts
from leasebox.sending.addressees import Kind
from leasebox.sending.attempts import Attempt
from leasebox.sending.model import AttemptState, HopRoute, RecipientState
from leasebox.values.clock import Clock
from leasebox.values.ids import LeaseId, MailboxId, MessageId, SendAttemptId

StateText = Annotated[AttemptState | None, QueryParameter(name="state", description="Only attempts in this state.")]


class AttemptItem(msgspec.Struct):
    """One outbound message. state: `queued` nobody tried yet, `sending` being handed over, or some have it and others
    are to be tried, `deferred` to be tried again, `sent` somebody got it, `failed` nobody is known to have got it,
    `cancelled`. sent_at: when the first recipient's server or mailbox had it. send_at: not handed over before then;
    expires_at: given up then."""

    send_attempt_id: str
    state: AttemptState
    mailbox_id: str
    lease_id: str
    message_id: str
    header_message_id: str
    sender: str
    recipient_count: int
    size_bytes: int
    created_at: datetime
    send_at: datetime
    expires_at: datetime
    sent_at: datetime | None
    finished_at: datetime | None


class RecipientView(msgspec.Struct):
    """state: `sent` another server has it, `delivered` it is in the mailbox, `bounced` it came back. reply_text: the
    server's words, untrusted."""

    address: str
    kind: Kind
    destination: str
    state: RecipientState
    reply_code: int | None
    reply_text: str | None
    at: datetime


class ReplyView(msgspec.Struct):
    """Untrusted: text, another server's words. code: null where none came."""

    command: str
    code: int | None
    text: str


class TryView(msgspec.Struct):
    """One conversation with a server. outcome: `unknown` where we died before its last reply was written down."""

    number: int
    began_at: datetime
    ended_at: datetime | None
    remote: str | None
    outcome: str
    replies: list[ReplyView]


class HopView(msgspec.Struct):
    """A recipient domain. route: `local` into mailboxes here, `smtp` over the network. next_try_at: null when over."""

    destination: str
    route: HopRoute
    state: str
    next_try_at: datetime | None
    tries: list[TryView]


class AttemptView(AttemptItem):
    """A whole attempt."""

    recipients: list[RecipientView]
    hops: list[HopView]


class AttemptRoutes(Controller):
    """Following what you sent."""

    path = "/v2/send-attempts"
    tags = ["Sending"]

    db: Database
    clock: Clock
    once: Once

    @get("/", operation_id="list_send_attempts", **needs("mail:read", 404))
    async def listed(
        self,
        caller: Given[Caller],
        mailbox_id: FromQuery[str | None] = None,
        in_state: StateText = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[AttemptItem]:
        """Your send attempts, newest first."""
        below = after(cursor)
        box = None if mailbox_id is None else known_id(MailboxId, mailbox_id)
        rows = await self.db.read(lambda tx: attempts.listed(tx, caller, box, in_state, below, limit + 1))
        return page(rows, limit, attempt_item, lambda row: row["id"])

    @get("/{send_attempt_id:str}", operation_id="get_send_attempt", **needs("mail:read", 404))
    async def one(self, caller: Given[Caller], send_attempt_id: FromPath[str]) -> AttemptView:
        """One attempt with its recipients and every reply of every server."""
        wanted = known_id(SendAttemptId, send_attempt_id)
        return attempt_view(await self.db.read(lambda tx: attempts.get(tx, caller, wanted)))

    @post(
        "/{send_attempt_id:str}/cancel",
        status_code=200,
        operation_id="cancel_send_attempt",
        **needs("mail:send", 404, 409),
    )
    async def cancel(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        send_attempt_id: FromPath[str],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[AttemptView]:
        """Take back what nobody is handing over yet; 409 once there is nothing left to take back."""
        wanted, trace = known_id(SendAttemptId, send_attempt_id), request_id(request)

        async def work(tx: Tx) -> AttemptView:
            return attempt_view(await attempts.cancel(tx, caller, wanted, self.clock.now(), trace))

        return await self.once.answer(request, caller, idempotency_key, 200, work)


def attempt_item(row: Record) -> AttemptItem:
    """An attempt in a list."""
    return AttemptItem(**_shared(row))


def attempt_view(found: Attempt) -> AttemptView:
    """A whole attempt."""
    return AttemptView(
        **_shared(found.head),
        recipients=[RecipientView(**dict(row)) for row in found.recipients],
        hops=[
            _hop(row, [each for each in found.tries if each["destination"] == row["destination"]]) for row in found.hops
        ],
    )


def _shared(row: Record) -> dict[str, Any]:
    return {
        "send_attempt_id": str(SendAttemptId.of(row["id"])),
        "state": row["state"],
        "mailbox_id": str(MailboxId.of(row["mailbox_id"])),
        "lease_id": str(LeaseId.of(row["lease_id"])),
        "message_id": str(MessageId.of(row["message_id"])),
        "header_message_id": row["header_message_id"],
        "sender": row["sender"],
        "recipient_count": row["recipient_count"],
        "size_bytes": row["size_bytes"],
        "created_at": row["created_at"],
        "send_at": row["send_at"],
        "expires_at": row["expires_at"],
        "sent_at": row["sent_at"],
        "finished_at": row["finished_at"],
    }


def _hop(row: Record, tries: list[Record]) -> HopView:
    return HopView(
        destination=row["destination"],
        route=row["route"],
        state=row["state"],
        next_try_at=None if row["state"] == "done" else row["next_try_at"],
        tries=[_try(each) for each in tries],
    )


def _try(row: Record) -> TryView:
    return TryView(
        number=row["number"],
        began_at=row["began_at"],
        ended_at=row["ended_at"],
        remote=row["remote"],
        outcome=row["outcome"],
        replies=[ReplyView(each["command"], each["code"], each["text"]) for each in row["replies"]],
    )
