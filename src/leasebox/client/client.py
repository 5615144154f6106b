"""The verbs of an agent against one leasebox."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from urllib.parse import quote

import httpx

from leasebox.client import challenge
from leasebox.client.domains import Domains
from leasebox.client.errors import ApiError, NoAgent, Unreachable
from leasebox.client.events import EventVerbs
from leasebox.client.model import (
    Challenge,
    Lease,
    Me,
    Message,
    MessageSummary,
    Page,
    Released,
    Runtime,
    Session,
)
from leasebox.client.purse import ORDINARY, Purse
from leasebox.client.sending import SendingVerbs
from leasebox.client.transport import Call, Patience, Transport, read
from leasebox.client.verbs import Word, message_path, present
from leasebox.values.clock import rfc3339

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

T = TypeVar("T")
Has = Literal["any", "otp", "link"]
WAIT_BOUND_S = 60
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_REST_S = 1.0


class Client(SendingVerbs, EventVerbs):
    """Speaks to the leasebox at `base_url` with a session or API key (`token`), or signs in with a wallet.

    on_expiry: called when the server no longer takes the token; it signs in again (`sign_in` sets one by itself).
    purse: pays for what is not free any more, out of the tenant's balance there; None never pays.
    Every verb raises ApiError (the server refused), Unreachable or UnexpectedAnswer. Not for several threads at once.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        on_expiry: Callable[[], object] | None = None,
        http: httpx.Client | None = None,
        patience: Patience | None = None,
        purse: Purse | None = ORDINARY,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(Transport(base_url, http=http, patience=patience, sleep=sleep))
        self._transport.token = token
        self.domains = Domains(self._transport)
        self._transport.remedies[401] = self._sign_in_again
        if purse is not None:
            self._transport.remedies[402] = purse.remedy(self._transport)
        self._on_expiry = on_expiry
        self._own_renewal: Callable[[], object] | None = None
        self._agent_id: str | None = None
        self._waited: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the session stays valid."""
        self._transport.close()

    def sign_in(self, key: "LocalAccount", chain_id: int | None = None) -> Session:
        """Sign in with a wallet (EIP-4361), now and again whenever the session ends.

        The message is checked before it is signed. chain_id None: the server's. Raises UnsafeChallenge, ApiError.
        """
        body: dict[str, Any] = {"wallet_address": key.address}
        if chain_id is not None:
            body["chain_id"] = chain_id
        asked = self._open_post("/v2/auth/siwe/challenge", Challenge, body)
        challenge.check(
            asked.message,
            base_url=self._transport.base_url,
            address=key.address,
            nonce=asked.nonce,
            chain_id=chain_id,
        )
        from leasebox.client.signing import sign  # noqa: PLC0415 - eth-account takes a third of a second to import

        signed = {"message": asked.message, "signature": sign(key, asked.message)}
        session = self._open_post("/v2/auth/siwe/verify", Session, signed)
        self._transport.token = session.access_token.reveal()
        self._agent_id = session.agent_id
        self._own_renewal = lambda: self.sign_in(key, chain_id)
        return session

    def sign_out(self) -> None:
        """End the session on the server; the token is refused within a second."""
        self._on_expiry = self._own_renewal = None
        self._transport.send(Call(method="DELETE", path="/v2/auth/session"))
        self._transport.token = None

    def me(self) -> Me:
        """Who the credential is."""
        return self._get("/v2/auth/me", Me)

    def runtime(self) -> Runtime:
        """What the server says of itself; needs no credential."""
        return self._get("/v2/meta/runtime", Runtime)

    def lease(
        self,
        *,
        purpose: str,
        ttl_hours: int = 1,
        local_part: str | None = None,
        domain: str | None = None,
        agent_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Lease:
        """Lease an address for `ttl_hours` (1 to 720). local_part None: generated. agent_id None: the one signed in.

        Raises NoAgent for an API key that stands for no agent, ApiError such as 409 `address_taken`.
        """
        body = {
            "agent_id": agent_id or self._own_agent(),
            "purpose": purpose,
            "ttl_hours": ttl_hours,
            "local_part": local_part,
            "domain": domain,
            "metadata": metadata,
        }
        return self._post("/v2/mailboxes/leases", Lease, {name: value for name, value in body.items() if value})

    def leases(
        self, *, status: str | None = None, agent_id: str | None = None, mailbox_id: str | None = None
    ) -> Iterator[Lease]:
        """Your leases, newest first, page after page. status: active, paused, frozen, released, expired or ended."""
        query = {"status": status, "agent_id": agent_id, "mailbox_id": mailbox_id, "limit": 100}
        return self._pages("/v2/mailboxes/leases", query, Page[Lease])

    def get_lease(self, lease_id: str) -> Lease:
        """One lease."""
        return self._get(_lease_path(lease_id), Lease)

    def renew(self, lease_id: str, ttl_hours: int) -> Lease:
        """Let a lease run for `ttl_hours` from now; this never shortens it."""
        return self._post(_lease_path(lease_id, "/renew"), Lease, {"ttl_hours": ttl_hours})

    def pause(self, lease_id: str) -> Lease:
        """Stop mail for a while; senders are told to try again later."""
        return self._post(_lease_path(lease_id, "/pause"), Lease)

    def resume(self, lease_id: str) -> Lease:
        """End a pause."""
        return self._post(_lease_path(lease_id, "/resume"), Lease)

    def release(self, lease_id: str) -> Released:
        """End a lease. Released again: the same answer."""
        return self._post(_lease_path(lease_id, "/release"), Released)

    def messages(
        self,
        mailbox_id: str | None = None,
        *,
        q: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        label: str | None = None,
        thread_id: str | None = None,
        direction: Literal["inbound", "outbound"] | None = None,
        page_size: int = 20,
    ) -> Iterator[MessageSummary]:
        """Mails, newest first, page after page as you go on. q: words to search for; page_size: 1 to 100."""
        query = {
            "mailbox_id": mailbox_id,
            "q": q,
            "since": None if since is None else rfc3339(since),
            "until": None if until is None else rfc3339(until),
            "label": label,
            "thread_id": thread_id,
            "direction": direction,
            "limit": page_size,
        }
        return self._pages("/v2/messages", query, Page[MessageSummary])

    def message(self, message_id: str) -> Message:
        """A whole mail. What its sender wrote is untrusted."""
        return self._get(message_path(message_id), Message)

    def raw(self, message_id: str) -> bytes:
        """The mail as SMTP received it, byte for byte (message/rfc822)."""
        return self._transport.send(Call(method="GET", path=message_path(message_id, "/raw"))).content

    def attachment(self, message_id: str, attachment_id: str) -> bytes:
        """An attached file, decoded; untrusted."""
        path = message_path(message_id, f"/attachments/{quote(attachment_id, safe='')}")
        return self._transport.send(Call(method="GET", path=path)).content

    def wait(
        self,
        mailbox_id: str,
        timeout_s: float = 60.0,
        has: Has = "any",
        *,
        sender: str | None = None,
        subject: str | None = None,
        since: datetime | str | None = None,
    ) -> MessageSummary | None:
        """The next mail of a mailbox, as soon as it is there, or None after `timeout_s` seconds.

        since: a time (received then or later) or the message_id of a mail (visible after it). None: after the mail
        that `wait` gave last for this mailbox, at first everything in it; so a mail that came before the call counts
        and none is missed or given twice. Of a mail that was deleted the place is lost: all that is left counts again,
        the oldest first. has: `otp` or `link` waits for a mail with one.
        """
        start: datetime | str = self._waited.get(mailbox_id, _EVER) if since is None else since
        query = {
            "mailbox_id": mailbox_id,
            "has": has,
            "from": sender,
            "subject": subject,
            "since": start if isinstance(start, str) else rfc3339(start),
        }
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = deadline - time.monotonic()
            try:
                found = self._poll(present(query), max(1, min(WAIT_BOUND_S, ceil(left_s))))
            except (Unreachable, ApiError) as fault:
                # The next question has the same `since`, so what came in meanwhile is not missed.
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not _passes(fault):
                    raise
                self._transport.sleep(min(_rest(fault), left_s))
                continue
            if found is not None:
                self._waited[mailbox_id] = found.message_id
                return found
            if time.monotonic() >= deadline:
                return None

    def _poll(self, query: Mapping[str, Word], bound_s: int) -> MessageSummary | None:
        call = Call(
            method="GET",
            path="/v2/messages/wait",
            query={**query, "timeout_s": bound_s},
            again="never",
            answer_within_s=bound_s + 15.0,
        )
        response = self._transport.send(call)
        return None if response.status_code == 204 else read(response, MessageSummary)

    def _own_agent(self) -> str:
        if self._agent_id is None:
            self._agent_id = self.me().agent_id
        if self._agent_id is None:
            raise NoAgent("This API key stands for no agent.", fix="Name an agent of yours (agent_id).")
        return self._agent_id

    def _sign_in_again(self, call: Call, refusal: ApiError) -> Call | None:
        del refusal
        renew = self._on_expiry or self._own_renewal
        if renew is None:
            return None
        renew()
        return call

    def _open_post(self, path: str, kind: type[T], body: Mapping[str, Any]) -> T:
        return self._transport.ask(Call(method="POST", path=path, body=body, credential="none"), kind)


def _passes(fault: Unreachable | ApiError) -> bool:
    """Whether a server that is away or busy may be back soon."""
    return isinstance(fault, Unreachable) or fault.status in {429, 502, 503, 504}


def _rest(fault: Unreachable | ApiError) -> float:
    """Seconds before asking again: as the server wishes, else one."""
    wish_s = fault.retry_after_s if isinstance(fault, ApiError) else None
    return _REST_S if wish_s is None else max(_REST_S, wish_s)


def _lease_path(lease_id: str, verb: str = "") -> str:
    return f"/v2/mailboxes/leases/{quote(lease_id, safe='')}{verb}"
