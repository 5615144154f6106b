"""Long-poll: answer as soon as a wanted message is committed."""

import time
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from asyncpg import Record
from litestar import Controller, Request, Response, get
from litestar.params import FromQuery, QueryParameter

from leasebox.billing.model import Demand
from leasebox.billing.till_http import PaymentProof, Till
from leasebox.identity.callers import Callers
from leasebox.identity.model import Caller
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.listing import moment
from leasebox.infra.web.routes import Given, known_id, needs, or_nothing
from leasebox.leases.errors import LeaseEnded
from leasebox.leases.model import ENDED, LeasePolicy
from leasebox.live.hub import Hub, woken
from leasebox.mail import hot, service
from leasebox.mail.http import SearchText, searchable
from leasebox.mail.model import WAKE_MAILBOX, Query
from leasebox.mail.views import MessageItem, item
from leasebox.values.clock import Clock
from leasebox.values.ids import MailboxId, MessageId
from leasebox.values.paths import Route

# A lost wake-up (Redis away) and a lease that ends meanwhile are noticed after this long.
_LOOK_AGAIN_S = 1.0
WAIT = Route("GET", "/v2/messages/wait")
Seconds = Annotated[int, QueryParameter(ge=1, le=60, description="How long to wait.")]


class WaitRoutes(Controller):
    """Waiting for mail."""

    path = "/v2/messages/wait"
    tags = ["Reading"]

    db: Database
    clock: Clock
    policy: LeasePolicy
    hub: Hub
    callers: Callers
    till: Till

    @get(
        "/",
        operation_id="wait_for_message",
        **or_nothing(needs("mail:read", 402, 404, 410), "Nothing came in time; call again."),
    )
    async def wait(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        mailbox_id: FromQuery[str],
        timeout_s: Seconds = 30,
        has: FromQuery[Literal["any", "otp", "link"]] = "any",
        sender: Annotated[str | None, QueryParameter(name="from", min_length=1, max_length=320)] = None,
        subject: SearchText = None,
        since: Annotated[str | None, QueryParameter(max_length=64)] = None,
        x_payment_proof: PaymentProof = None,
    ) -> Response[MessageItem | None]:
        """The first message that fits, as soon as it is visible; 204 when none came in time.

        `since` is the id of the last message you have seen (then nothing is ever missed, even what became visible out
        of order), or a time: messages received then or later count, those already there too. Without it only messages
        that become visible from now on count. A deleted message's place is not kept: behind its id all that is still
        there counts again, the oldest first, so an old code may come as if it were new. `from` is a whole address, or
        a domain with everything under it.
        Only an answer with a message is metered. What could not be paid then is refused at once.
        """
        query, seen = await self._question(caller, known_id(MailboxId, mailbox_id), since, has, sender, subject)
        demand = self.till.demand(request, WAIT, x_payment_proof)
        async with self.till.noting(caller, demand):
            await self.db.read(lambda tx: self.till.foresee(tx, caller, demand))
        deadline = time.monotonic() + timeout_s
        with self.hub.listening(WAKE_MAILBOX, str(query.mailbox_id)) as event:
            while True:
                found = await self._look(caller, self.till.demand(request, WAIT, x_payment_proof), query, seen)
                left = deadline - time.monotonic()
                if found is not None:
                    return Response(item(found), status_code=200)
                if left <= 0 or self.hub.closing:
                    return Response(None, status_code=204)
                await woken(event, min(left, _LOOK_AGAIN_S))
                # Whoever signed out, or was suspended, while waiting gets nothing more.
                await self.callers.resolve(request.headers.get("authorization"))

    async def _question(
        self,
        caller: Caller,
        mailbox_id: MailboxId,
        since: str | None,
        has: str,
        sender: str | None,
        subject: str | None,
    ) -> tuple[Query, int]:
        now = self.clock.now()
        received, last = _since(since)
        query = Query(
            tenant_id=caller.tenant_id,
            within=caller.mailbox_ids,
            at=now,
            retention=self.policy.retention,
            mailbox_id=mailbox_id,
            since=received,
            # Whoever waits for an answer must not be given the question back.
            direction="inbound",
            has=has,
            sender=searchable(sender),
            subject=searchable(subject),
        )

        async def start(tx: Tx) -> int:
            await service.require_readable_mailbox(tx, caller, mailbox_id, now)
            return await service.place_after(tx, caller.tenant_id, mailbox_id, last, received)

        return query, await self.db.read(start)

    async def _look(self, caller: Caller, demand: Demand, query: Query, seen: int) -> Record | None:
        """The message, paid for. Raises as the till does, and what tells why none will come."""
        fresh = msgspec.structs.replace(query, at=self.clock.now())
        asked = self.till.ask(caller, demand)
        async with self.till.noting(caller, demand):
            found = await self.db.at_once(lambda tx: hot.next_after(tx, asked, fresh, seen))
        if found is None:
            await self.db.read(lambda tx: self._require_living(tx, caller, fresh))
        return found

    async def _require_living(self, tx: Tx, caller: Caller, query: Query) -> None:
        assert query.mailbox_id is not None
        lease = await service.require_readable_mailbox(tx, caller, query.mailbox_id, query.at)
        if lease.status(query.at) in ENDED:
            raise LeaseEnded("The lease has ended, so no mail will come.", lease_status=lease.status(query.at))


def _since(text: str | None) -> tuple[datetime | None, MessageId | None]:
    """A time or a message id. Raises BadRequest."""
    if text is None:
        return None, None
    if text.startswith(f"{MessageId.prefix}_"):
        return None, known_id(MessageId, text)
    return moment(text, "since"), None
