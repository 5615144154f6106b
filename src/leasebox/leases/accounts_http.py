"""Routes of mailboxes under the name the API's users know: accounts (account_id = mailbox_id)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Protocol

import msgspec
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from leasebox.identity.model import Caller
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.idempotency import IdempotencyKey, Once
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, known_id, needs, request_id
from leasebox.leases import service
from leasebox.leases.http import LeaseView, Metadata, bounded, lease_view
from leasebox.leases.model import Doors, LeasePolicy, Mailbox, SendCounters
from leasebox.values.clock import Clock
from leasebox.values.ids import MailboxId, TenantId, WebhookId
from leasebox.values.secret import Secret

SendCountersOf = Callable[[Tx, TenantId, Sequence[MailboxId], datetime], Awaitable[Mapping[MailboxId, SendCounters]]]


class WebhookUrl(msgspec.Struct, frozen=True):
    """Where a mailbox's events are posted, and the webhook that does it."""

    url: str
    webhook_id: WebhookId


class WebhookUrls(Protocol):
    """The short form of webhooks: one address a mailbox."""

    def spelled(self, url: str) -> str:
        """The URL in its one spelling. Raises a refusal (422) for one that is not called."""

    async def put(
        self, tx: Tx, caller: Caller, mailbox_id: MailboxId, url: str | None, at: datetime, request_id: str
    ) -> None:
        """Set it, or with None take it away. The mailbox is the caller's."""

    async def of(
        self, tx: Tx, tenant_id: TenantId, mailbox_ids: Sequence[MailboxId]
    ) -> Mapping[MailboxId, WebhookUrl]: ...


_Shown = tuple[Mailbox, SendCounters, WebhookUrl | None]


class AccountView(msgspec.Struct):
    """A mailbox with its latest lease, and what it has sent, counted in recipients; sends_today: in this UTC day.

    webhook_url: where its message events are posted; webhook_id: the webhook that does it, whose rotate-secret shows
    the secret to verify them with.
    """

    account_id: str
    mailbox_id: str
    address: str
    display_name: str | None
    metadata: Metadata
    created_at: datetime
    webhook_url: str | None
    webhook_id: str | None
    daily_send_limit: int
    sends_today: int
    total_sent: int
    bounce_count: int
    complaint_count: int
    lease: LeaseView


class AccountPatch(msgspec.Struct, forbid_unknown_fields=True):
    """Only what is sent changes; display_name or webhook_url null clears it. webhook_url needs webhook:write too."""

    display_name: Annotated[str, msgspec.Meta(max_length=100)] | msgspec.UnsetType | None = msgspec.UNSET
    metadata: Metadata | msgspec.UnsetType = msgspec.UNSET
    webhook_url: Annotated[str, msgspec.Meta(max_length=2048)] | msgspec.UnsetType | None = msgspec.UNSET


class CredentialsView(msgspec.Struct):
    """webmail_password: shown this once."""

    account_id: str
    mailbox_id: str
    webmail_login: str
    webmail_password: str
    webmail_url: str | None
    smtp: dict[str, Any] | None
    imap: dict[str, Any] | None


class AccountRoutes(Controller):
    """The mailboxes behind your leases."""

    path = "/v2/mailboxes/accounts"
    tags = ["Mailboxes"]

    db: Database
    clock: Clock
    policy: LeasePolicy
    doors: Doors
    erase: Any
    sends: SendCountersOf
    urls: WebhookUrls
    once: Once

    @get("/", operation_id="list_accounts", **needs("mail:read"))
    async def listed(self, caller: Given[Caller], limit: Limit = 20, cursor: CursorText = None) -> Page[AccountView]:
        """Your mailboxes, newest first."""
        below, now = after(cursor), self.clock.now()

        async def body(tx: Tx) -> list[_Shown]:
            return await self._counted(tx, caller, await service.list_mailboxes(tx, caller, below, limit + 1), now)

        rows = await self.db.read(body)
        return page(rows, limit, lambda row: _view(row, now), lambda row: row[0].mailbox_id)

    @get("/{account_id:str}", operation_id="get_account", **needs("mail:read", 404))
    async def one(self, caller: Given[Caller], account_id: FromPath[str]) -> AccountView:
        """One mailbox."""
        wanted, now = known_id(MailboxId, account_id), self.clock.now()

        async def body(tx: Tx) -> list[_Shown]:
            return await self._counted(tx, caller, [await service.get_mailbox(tx, caller, wanted)], now)

        return _view((await self.db.read(body))[0], now)

    @patch("/{account_id:str}", operation_id="change_account", **needs("mail:allocate", 404, 409, 422))
    async def change(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        account_id: FromPath[str],
        data: JSONBody[AccountPatch],
    ) -> AccountView:
        """Set the display name, the metadata, or where message events are posted."""
        wanted, now, trace = known_id(MailboxId, account_id), self.clock.now(), request_id(request)
        changes = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
        bounded(changes.get("metadata", {}))
        url = changes.pop("webhook_url", msgspec.UNSET)
        if url is not msgspec.UNSET:
            caller.require("webhook:write")
            url = None if url is None else self.urls.spelled(url)

        async def body(tx: Tx) -> list[_Shown]:
            changed = await service.change_mailbox(tx, caller, wanted, changes, now, trace)
            if url is not msgspec.UNSET:
                await self.urls.put(tx, caller, wanted, url, now, trace)
            return await self._counted(tx, caller, [changed], now)

        return _view((await self.db.transact(body))[0], now)

    @delete("/{account_id:str}", status_code=204, operation_id="erase_account", **needs("mail:allocate", 404))
    async def erase_account(
        self, request: Request[Any, Any, Any], caller: Given[Caller], account_id: FromPath[str]
    ) -> None:
        """End the lease and erase all mail of the mailbox at once."""
        wanted, now, trace = known_id(MailboxId, account_id), self.clock.now(), request_id(request)
        await self.db.transact(
            lambda tx: service.erase_mailbox(tx, caller, wanted, self.erase, self.policy, now, trace)
        )

    @post(
        "/{account_id:str}/credentials/reset",
        status_code=200,
        operation_id="reset_credentials",
        **needs("mail:allocate", 404, 409, 410),
    )
    async def reset(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        account_id: FromPath[str],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[CredentialsView]:
        """A new password for webmail, SMTP and IMAP; the old one stops within a second."""
        wanted, now, trace = known_id(MailboxId, account_id), self.clock.now(), request_id(request)

        async def work(tx: Tx) -> CredentialsView:
            return self._credentials(*await service.reset_credentials(tx, caller, wanted, now, trace))

        return await self.once.answer(request, caller, idempotency_key, 200, work)

    def _credentials(self, mailbox: Mailbox, password: Secret) -> CredentialsView:
        return CredentialsView(
            account_id=str(mailbox.mailbox_id),
            mailbox_id=str(mailbox.mailbox_id),
            webmail_login=mailbox.address,
            webmail_password=password.reveal(),
            webmail_url=self.doors.webmail_url,
            smtp=self.doors.smtp,
            imap=self.doors.imap,
        )

    async def _counted(self, tx: Tx, caller: Caller, found: Sequence[Mailbox], at: datetime) -> list[_Shown]:
        ids = [each.mailbox_id for each in found]
        counters = await self.sends(tx, caller.tenant_id, ids, at)
        urls = await self.urls.of(tx, caller.tenant_id, ids)
        return [(each, counters[each.mailbox_id], urls.get(each.mailbox_id)) for each in found]


def _view(shown: _Shown, at: datetime) -> AccountView:
    mailbox, counters, url = shown
    return AccountView(
        account_id=str(mailbox.mailbox_id),
        mailbox_id=str(mailbox.mailbox_id),
        address=mailbox.address,
        display_name=mailbox.display_name,
        metadata=mailbox.metadata,
        created_at=mailbox.created_at,
        webhook_url=None if url is None else url.url,
        webhook_id=None if url is None else str(url.webhook_id),
        daily_send_limit=counters.daily_send_limit,
        sends_today=counters.sends_today,
        total_sent=counters.total_sent,
        bounce_count=counters.bounce_count,
        complaint_count=counters.complaint_count,
        lease=lease_view(mailbox.lease, at),
    )
