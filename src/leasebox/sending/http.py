"""Routes of sending, answering and passing on."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, post
from litestar.params import FromPath, JSONBody

from leasebox.billing.till_http import PaymentProof, Till
from leasebox.identity.model import Caller
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.body import WithNul
from leasebox.infra.web.idempotency import IdempotencyKey, Once
from leasebox.infra.web.routes import Given, known_id, signed_in
from leasebox.leases.model import Mailbox
from leasebox.mail import service as mail
from leasebox.sending import service, writing
from leasebox.sending.draft import SUBJECT_CHARS, Draft, OneOrMany, Wish, read_draft
from leasebox.sending.model import AttemptState, Letter, Rejected, SendPolicy, Submitted
from leasebox.sending.replies import Manner, answer, forward, read_original
from leasebox.values.clock import Clock
from leasebox.values.ids import MailboxId, MessageId
from leasebox.values.paths import Route

SEND = Route("POST", "/v2/messages/send")
BODY_CAP = 35 * 1024 * 1024
_REFUSALS = (402, 404, 409, 410, 413, 422)
# Read as they stand: every text in them is judged by `draft`, which tells of all faults at once.
_BODY: dict[str, Any] = {"dto": WithNul, "request_max_body_size": BODY_CAP}
SubjectText = Annotated[str, msgspec.Meta(max_length=SUBJECT_CHARS * 2)]


class SendRequest(Wish, kw_only=True, forbid_unknown_fields=True):
    """to: `a@b.example`, `Name <a@b.example>`, or a list of these; at most 100 recipients in to, cc and bcc together.

    in_reply_to: the message_id of a message of yours, or any other's Message-ID with its angle brackets. text, html: up
    to 1 MiB each; a text is made from the HTML where it is missing. attachments: 25 MiB together. headers: X-*, List-*,
    Auto-Submitted, Importance, Priority, Sensitivity, Precedence, Feedback-ID, Keywords, Comments and Organization.
    send_at: at most 30 days ahead and not after the end of the lease; until then the message can be cancelled.
    mailbox_password: stands in for the scope mail:send.
    """

    mailbox_id: str
    to: OneOrMany = []
    subject: SubjectText = ""
    in_reply_to: Annotated[str, msgspec.Meta(max_length=1_000)] | None = None


class ReplyRequest(Wish, kw_only=True, forbid_unknown_fields=True):
    """As for sending; who is answered, the subject and the references follow from the message. cc, bcc: further
    recipients. The message's text is quoted below yours."""


class ForwardRequest(Wish, kw_only=True, forbid_unknown_fields=True):
    """As for sending; the message's text, page and attachments follow below yours."""

    to: OneOrMany = []


class SubmittedView(msgspec.Struct):
    """A message on its way. submission_status: `sent` where all of it is in mailboxes of this instance already,
    `deferred` where one of them takes it later, `sending` where some have it and others are to be tried, else
    `queued`. accepted: whom it goes to. rejected: whom it does not go to, at no cost."""

    send_attempt_id: str
    submission_status: AttemptState
    message_id: str
    thread_id: str
    accepted: list[str]
    rejected: list[Rejected]


class SendRoutes(Controller):
    """Mail going out, always from the leased address."""

    path = "/v2/messages"
    tags = ["Sending"]

    db: Database
    clock: Clock
    policy: SendPolicy
    till: Till
    once: Once

    @post("/send", status_code=202, operation_id="send_message", **_BODY, **signed_in(*_REFUSALS))
    async def send(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        data: JSONBody[SendRequest],
        x_payment_proof: PaymentProof = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response[SubmittedView]:
        """Send a message. Each recipient counts once for the meter; whoever is rejected costs nothing."""

        async def written(now: datetime) -> Letter:
            box = await self._mailbox(caller, known_id(MailboxId, data.mailbox_id), data, now)
            draft = read_draft(data.to, data.subject, data, now)
            if data.in_reply_to is not None:
                draft = await self._referring(caller, draft, data.in_reply_to, now)
            return await writing.letter_of(draft, box, now)

        return await self._submit(request, caller, data, SEND, written, x_payment_proof, idempotency_key)

    @post("/{message_id:str}/reply", status_code=202, operation_id="reply", **_BODY, **signed_in(*_REFUSALS))
    async def reply(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        message_id: FromPath[str],
        data: JSONBody[ReplyRequest],
        x_payment_proof: PaymentProof = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response[SubmittedView]:
        """Answer whoever sent a message (or whom its Reply-To names)."""
        route, written = self._answering(caller, message_id, data, "reply")
        return await self._submit(request, caller, data, route, written, x_payment_proof, idempotency_key)

    @post("/{message_id:str}/reply-all", status_code=202, operation_id="reply_all", **_BODY, **signed_in(*_REFUSALS))
    async def reply_all(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        message_id: FromPath[str],
        data: JSONBody[ReplyRequest],
        x_payment_proof: PaymentProof = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response[SubmittedView]:
        """Answer everybody that a message names, but for the address that answers."""
        route, written = self._answering(caller, message_id, data, "reply-all")
        return await self._submit(request, caller, data, route, written, x_payment_proof, idempotency_key)

    @post("/{message_id:str}/forward", status_code=202, operation_id="forward", **_BODY, **signed_in(*_REFUSALS))
    async def forward(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        message_id: FromPath[str],
        data: JSONBody[ForwardRequest],
        x_payment_proof: PaymentProof = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response[SubmittedView]:
        """Pass a message on, with its attachments."""
        wanted = known_id(MessageId, message_id)

        async def written(now: datetime) -> Letter:
            leases = self.policy.leases
            row, mailbox_id = await self.db.read(lambda tx: writing.original(tx, caller, wanted, leases, now))
            box = await self._mailbox(caller, mailbox_id, data, now)
            draft = forward(read_original(dict(row)), data.to, data, now)
            if row["attachments"]:
                raw = await self.db.read(lambda tx: mail.get_raw(tx, caller, wanted, leases, now))
                draft = await writing.with_attachments_of(draft, raw)
            return await writing.letter_of(draft, box, now)

        route = _route(message_id, "forward")
        return await self._submit(request, caller, data, route, written, x_payment_proof, idempotency_key)

    def _answering(
        self, caller: Caller, message_id: str, wish: Wish, manner: Manner
    ) -> tuple[Route, Callable[[datetime], Awaitable[Letter]]]:
        wanted = known_id(MessageId, message_id)

        async def written(now: datetime) -> Letter:
            row, mailbox_id = await self.db.read(
                lambda tx: writing.original(tx, caller, wanted, self.policy.leases, now)
            )
            box = await self._mailbox(caller, mailbox_id, wish, now)
            draft = answer(read_original(dict(row)), box.address, manner, wish, now)
            return await writing.letter_of(draft, box, now)

        return _route(message_id, manner), written

    async def _mailbox(self, caller: Caller, mailbox_id: MailboxId, wish: Wish, now: datetime) -> Mailbox:
        password = wish.mailbox_password
        return await self.db.read(lambda tx: writing.mailbox_to_write_from(tx, caller, mailbox_id, password, now))

    async def _referring(self, caller: Caller, draft: Draft, text: str, now: datetime) -> Draft:
        return await self.db.read(lambda tx: writing.referring_to(tx, caller, draft, text, self.policy.leases, now))

    async def _submit(
        self,
        request: Request[Any, Any, Any],
        caller: Caller,
        wish: Wish,
        route: Route,
        written: Callable[[datetime], Awaitable[Letter]],
        proof: str | None,
        key: str | None,
    ) -> Response[SubmittedView]:
        if wish.mailbox_password is None:
            caller.require("mail:send")
        if (kept := await self.once.recall(request, caller, key)) is not None:
            return kept
        letter = await written(self.clock.now())
        demand = self.till.demand(request, route, proof, len(letter.recipients))

        async def admit(tx: Tx, units: int) -> None:
            await self.till.admit(tx, caller, msgspec.structs.replace(demand, quantity=units))

        async def work(tx: Tx) -> SubmittedView:
            return _view(await service.hand_in(tx, caller, letter, admit, self.policy, demand.at))

        async with self.till.noting(caller, demand):
            return await self.once.answer(request, caller, key, 202, work)


def _route(message_id: str, manner: Manner) -> Route:
    return Route("POST", f"/v2/messages/{message_id}/{manner}")


def _view(done: Submitted) -> SubmittedView:
    return SubmittedView(
        send_attempt_id=str(done.send_attempt_id),
        submission_status=done.submission_status,
        message_id=str(done.message_id),
        thread_id=str(done.thread_id),
        accepted=done.accepted,
        rejected=done.rejected,
    )
