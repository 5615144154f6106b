"""Routes of mailboxes under the name the API's users know: accounts (account_id = mailbox_id)."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from leasebox.identity.model import Caller
from leasebox.infra.db import Database
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, known_id, needs, request_id
from leasebox.leases import service
from leasebox.leases.http import LeaseView, Metadata, bounded, lease_view
from leasebox.leases.model import Doors, LeasePolicy, Mailbox
from leasebox.values.clock import Clock
from leasebox.values.ids import MailboxId


class AccountView(msgspec.Struct):
    """A mailbox with its latest lease."""

    account_id: str
    mailbox_id: str
    address: str
    display_name: str | None
    metadata: Metadata
    created_at: datetime
    lease: LeaseView


class AccountPatch(msgspec.Struct, forbid_unknown_fields=True):
    """Only what is sent changes; display_name null clears it."""

    display_name: Annotated[str, msgspec.Meta(max_length=100)] | msgspec.UnsetType | None = msgspec.UNSET
    metadata: Metadata | msgspec.UnsetType = msgspec.UNSET


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

    @get("/", operation_id="list_accounts", **needs("mail:read"))
    async def listed(self, caller: Given[Caller], limit: Limit = 20, cursor: CursorText = None) -> Page[AccountView]:
        """Your mailboxes, newest first."""
        below, now = after(cursor), self.clock.now()
        rows = await self.db.read(lambda tx: service.list_mailboxes(tx, caller, below, limit + 1))
        return page(rows, limit, lambda mailbox: _view(mailbox, now), lambda mailbox: mailbox.mailbox_id)

    @get("/{account_id:str}", operation_id="get_account", **needs("mail:read", 404))
    async def one(self, caller: Given[Caller], account_id: FromPath[str]) -> AccountView:
        """One mailbox."""
        wanted = known_id(MailboxId, account_id)
        return _view(await self.db.read(lambda tx: service.get_mailbox(tx, caller, wanted)), self.clock.now())

    @patch("/{account_id:str}", operation_id="change_account", **needs("mail:allocate", 404))
    async def change(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        account_id: FromPath[str],
        data: JSONBody[AccountPatch],
    ) -> AccountView:
        """Set the display name or the metadata."""
        wanted, now, trace = known_id(MailboxId, account_id), self.clock.now(), request_id(request)
        changes = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
        bounded(changes.get("metadata", {}))
        mailbox = await self.db.transact(lambda tx: service.change_mailbox(tx, caller, wanted, changes, now, trace))
        return _view(mailbox, now)

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
        **needs("mail:allocate", 404, 410),
    )
    async def reset(
        self, request: Request[Any, Any, Any], caller: Given[Caller], account_id: FromPath[str]
    ) -> CredentialsView:
        """A new password for webmail, SMTP and IMAP; the old one stops within a second."""
        wanted, now, trace = known_id(MailboxId, account_id), self.clock.now(), request_id(request)
        mailbox, password = await self.db.transact(lambda tx: service.reset_credentials(tx, caller, wanted, now, trace))
        return CredentialsView(
            account_id=str(mailbox.mailbox_id),
            mailbox_id=str(mailbox.mailbox_id),
            webmail_login=mailbox.address,
            webmail_password=password.reveal(),
            webmail_url=self.doors.webmail_url,
            smtp=self.doors.smtp,
            imap=self.doors.imap,
        )


def _view(mailbox: Mailbox, at: datetime) -> AccountView:
    return AccountView(
        account_id=str(mailbox.mailbox_id),
        mailbox_id=str(mailbox.mailbox_id),
        address=mailbox.address,
        display_name=mailbox.display_name,
        metadata=mailbox.metadata,
        created_at=mailbox.created_at,
        lease=lease_view(mailbox.lease, at),
    )
