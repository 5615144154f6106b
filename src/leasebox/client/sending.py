"""The verbs of mail going out, and of conversations."""

import base64
import mimetypes
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from leasebox.client.model import (
    Attempt,
    AttemptSummary,
    MessageSummary,
    Page,
    Submitted,
    Thread,
    ThreadMessage,
    ThreadSummary,
)
from leasebox.client.transport import IDEMPOTENCY, Call
from leasebox.client.verbs import Verbs, message_path, present
from leasebox.values.clock import rfc3339

T = TypeVar("T")
# 25 MiB of files are 35 MB on the wire.
_SENDING_S = 120.0


class File(msgspec.Struct, frozen=True):
    """A file to send along. content_type: as in MIME."""

    filename: str
    content: bytes
    content_type: str = "application/octet-stream"

    @classmethod
    def read(cls, path: Path) -> "File":
        """A file of this machine; its type is told by its name. Raises OSError."""
        return cls(path.name, path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream")

    def shown(self) -> dict[str, Any]:
        """As the API takes it."""
        return {
            "filename": self.filename,
            "content_type": self.content_type,
            "content_base64": base64.b64encode(self.content).decode(),
        }


class SendingVerbs(Verbs):
    """Sending, answering, following what was sent; threads and labels.

    A message is sent once: each call has an Idempotency-Key of its own (or yours), so that it is safe to repeat.
    """

    def send(
        self,
        mailbox_id: str,
        to: str | Sequence[str],
        subject: str,
        text: str | None = None,
        *,
        html: str | None = None,
        cc: Sequence[str] = (),
        bcc: Sequence[str] = (),
        attachments: Sequence[File] = (),
        headers: Mapping[str, str] | None = None,
        in_reply_to: str | None = None,
        send_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Submitted:
        """Send from a mailbox. Addresses: `a@b.example` or `Name <a@b.example>`. send_at: not before then.

        Raises ApiError such as 422 with every fault, 429 `cooldown_limit`; TooDear.
        """
        body = {
            "mailbox_id": mailbox_id,
            "to": to if isinstance(to, str) else list(to),
            "subject": subject,
            "in_reply_to": in_reply_to,
            **_wish(text, html, cc, bcc, attachments, headers, send_at),
        }
        return self._submit("/v2/messages/send", body, idempotency_key)

    def reply(
        self,
        message_id: str,
        text: str | None = None,
        *,
        html: str | None = None,
        cc: Sequence[str] = (),
        bcc: Sequence[str] = (),
        attachments: Sequence[File] = (),
        idempotency_key: str | None = None,
    ) -> Submitted:
        """Answer whoever sent a message. Raises as `send` does."""
        body = _wish(text, html, cc, bcc, attachments, None, None)
        return self._submit(message_path(message_id, "/reply"), body, idempotency_key)

    def reply_all(
        self,
        message_id: str,
        text: str | None = None,
        *,
        html: str | None = None,
        attachments: Sequence[File] = (),
        idempotency_key: str | None = None,
    ) -> Submitted:
        """Answer everybody that a message names. Raises as `send` does."""
        body = _wish(text, html, (), (), attachments, None, None)
        return self._submit(message_path(message_id, "/reply-all"), body, idempotency_key)

    def forward(
        self, message_id: str, to: str | Sequence[str], text: str | None = None, *, idempotency_key: str | None = None
    ) -> Submitted:
        """Pass a message on with its attachments. Raises as `send` does."""
        body = {"to": to if isinstance(to, str) else list(to), **_wish(text, None, (), (), (), None, None)}
        return self._submit(message_path(message_id, "/forward"), body, idempotency_key)

    def attempts(
        self, mailbox_id: str | None = None, *, state: str | None = None, page_size: int = 20
    ) -> Iterator[AttemptSummary]:
        """What you sent and what became of it, newest first, page after page."""
        query = {"mailbox_id": mailbox_id, "state": state, "limit": page_size}
        return self._pages("/v2/send-attempts", query, Page[AttemptSummary])

    def attempt(self, send_attempt_id: str) -> Attempt:
        """One send attempt with its recipients and every reply of every server."""
        return self._get(_attempt_path(send_attempt_id), Attempt)

    def cancel(self, send_attempt_id: str) -> Attempt:
        """Take back what nobody is handing over yet. Raises ApiError, 409 where there is nothing left to take back."""
        return self._post(_attempt_path(send_attempt_id, "/cancel"), Attempt)

    def threads(
        self, mailbox_id: str | None = None, *, labels: Sequence[str] = (), page_size: int = 20
    ) -> Iterator[ThreadSummary]:
        """Conversations, the one with the newest message first, page after page. labels: threads that have all."""
        query = {"mailbox_id": mailbox_id, "label": tuple(labels), "limit": page_size}
        return self._pages("/v2/threads", query, Page[ThreadSummary])

    def thread(self, thread_id: str) -> Thread:
        """One conversation with all its messages, the oldest first, each with what is new in it."""
        messages: list[ThreadMessage] = []
        cursor: str | None = None
        while True:
            found = self._get(_thread_path(thread_id), Thread, present({"limit": 100, "cursor": cursor}))
            messages += found.messages
            cursor = found.next_cursor
            if cursor is None:
                return msgspec.structs.replace(found, messages=tuple(messages))

    def label(self, message_id: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> MessageSummary:
        """Add and remove labels of a message; without `unread` it counts as read."""
        return self._patch(message_path(message_id), MessageSummary, add, remove)

    def label_thread(self, thread_id: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> ThreadSummary:
        """Add and remove labels of every message of a thread."""
        return self._patch(_thread_path(thread_id), ThreadSummary, add, remove)

    def _patch(self, path: str, kind: type[T], add: Sequence[str], remove: Sequence[str]) -> T:
        body = {"add_labels": list(add), "remove_labels": list(remove)}
        return self._transport.ask(Call(method="PATCH", path=path, body=body), kind)

    def _submit(self, path: str, body: Mapping[str, Any], key: str | None) -> Submitted:
        call = Call(
            method="POST",
            path=path,
            body={name: value for name, value in body.items() if value not in (None, [], {})},
            headers={IDEMPOTENCY: key or secrets.token_hex(16)},
            answer_within_s=_SENDING_S,
        )
        return self._transport.ask(call, Submitted)


def _wish(
    text: str | None,
    html: str | None,
    cc: Sequence[str],
    bcc: Sequence[str],
    attachments: Sequence[File],
    headers: Mapping[str, str] | None,
    send_at: datetime | None,
) -> dict[str, Any]:
    return {
        "text": text,
        "html": html,
        "cc": list(cc),
        "bcc": list(bcc),
        "attachments": [each.shown() for each in attachments],
        "headers": dict(headers or {}),
        "send_at": None if send_at is None else rfc3339(send_at),
    }


def _attempt_path(send_attempt_id: str, verb: str = "") -> str:
    return f"/v2/send-attempts/{quote(send_attempt_id, safe='')}{verb}"


def _thread_path(thread_id: str) -> str:
    return f"/v2/threads/{quote(thread_id, safe='')}"
