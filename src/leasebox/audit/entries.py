"""What a row of a log says, as the one line of JSON whose hash is its leaf.

Fixed keys in fixed order, no spaces of ours, UTF-8; JSONB columns stand as PostgreSQL prints them, digit for digit. The
same lines are the export: line n of it is leaf n, and SHA-256(0x00 ‖ line) its hash (RFC 6962 §2.1). A change of this
form gets a new number after the log's name; sealed rows keep theirs.
"""

from typing import Any

import msgspec

from leasebox.audit.tables import Row
from leasebox.values.clock import rfc3339
from leasebox.values.ids import AuditId, EventId, Id, LeaseId, MailboxId, TenantId


def audit_entry(row: Row) -> bytes:
    """A row of `audit_rows`."""
    return msgspec.json.encode(
        {
            "log": "audit/1",
            "id": _id(AuditId, row["id"]),
            "at": rfc3339(row["at"]),
            "tenant_id": _id(TenantId, row["tenant_id"]),
            "actor": row["actor"],
            "action": row["action"],
            "resource": row["resource"],
            "outcome": row["outcome"],
            "request_id": row["request_id"],
            "detail": _raw(row["detail"]),
            "xid": row["xid"],
        }
    )


def fact_entry(row: Row) -> bytes:
    """A row of `facts`."""
    return msgspec.json.encode(
        {
            "log": "facts/1",
            "id": _id(EventId, row["id"]),
            "at": rfc3339(row["at"]),
            "tenant_id": _id(TenantId, row["tenant_id"]),
            "mailbox_id": _id(MailboxId, row["mailbox_id"]),
            "lease_id": _id(LeaseId, row["lease_id"]),
            "type": row["type"],
            "payload": _raw(row["payload"]),
            "xid": row["xid"],
        }
    )


def _id(kind: type[Id], value: Any) -> str | None:
    return None if value is None else str(kind.of(value))


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())
