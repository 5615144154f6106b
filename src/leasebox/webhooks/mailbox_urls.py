"""The short form of webhooks: `webhook_url` of a mailbox, as the routes of mailboxes ask for it."""

from collections.abc import Sequence
from datetime import datetime

from leasebox.identity.model import Caller
from leasebox.infra.db import Tx
from leasebox.infra.fetch_guard import Network
from leasebox.leases.accounts_http import WebhookUrl
from leasebox.values.ids import MailboxId, TenantId
from leasebox.values.keys import KeyRing
from leasebox.webhooks import service


class MailboxUrls:
    """Says and sets them. keys: seal the secrets of endpoints; allow: networks that may be called besides public."""

    def __init__(self, keys: KeyRing, allow: Sequence[Network]) -> None:
        self._keys = keys
        self._allow = tuple(allow)

    def spelled(self, url: str) -> str:
        """The URL in its one spelling. Raises TargetRefused."""
        return service.target_of(url, self._allow)

    async def put(
        self, tx: Tx, caller: Caller, mailbox_id: MailboxId, url: str | None, at: datetime, request_id: str
    ) -> None:
        """Set it, or with None take it away. Raises NotFound."""
        await service.set_mailbox_url(tx, caller, mailbox_id, url, self._keys, at, request_id)

    async def of(self, tx: Tx, tenant_id: TenantId, mailbox_ids: Sequence[MailboxId]) -> dict[MailboxId, WebhookUrl]:
        """Of these mailboxes, those that have one."""
        found = await service.mailbox_urls(tx, tenant_id, mailbox_ids)
        return {mailbox_id: WebhookUrl(each.target_url, each.webhook_id) for mailbox_id, each in found.items()}
