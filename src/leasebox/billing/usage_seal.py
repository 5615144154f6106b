"""Usage events as the third sealed log: what was metered cannot be changed unseen, before or after it is billed."""

import msgspec

from leasebox.audit.tables import Log, Row
from leasebox.billing.proof import ProofId
from leasebox.billing.tables import usage_events
from leasebox.values.clock import rfc3339
from leasebox.values.ids import AgentId, EventId, TenantId
from leasebox.values.money import Usdc


def usage_entry(row: Row) -> bytes:
    """A row of `usage_events` as one line of JSON, by the rules of audit/entries.py; money as decimal USDC."""
    return msgspec.json.encode(
        {
            "log": "usage/1",
            "id": str(EventId.of(row["id"])),
            "at": rfc3339(row["occurred_at"]),
            "tenant_id": str(TenantId.of(row["tenant_id"])),
            "agent_id": None if row["agent_id"] is None else str(AgentId.of(row["agent_id"])),
            # A session's or an API key's: the row does not say which.
            "credential_id": str(row["credential_id"]),
            "method": row["method"],
            "path": row["path"],
            "meter": row["meter"],
            "price_version": row["price_version"],
            "unit_price_usdc": str(Usdc(row["unit_price_micros"])),
            "free_quantity": row["free_quantity"],
            "paid_quantity": row["paid_quantity"],
            "amount_usdc": str(Usdc(row["amount_micros"])),
            "proof_id": None if row["proof_id"] is None else str(ProofId.of(row["proof_id"])),
            "request_id": row["request_id"],
            "xid": row["xid"],
        }
    )


USAGE = Log("usage", usage_events, EventId, usage_entry)
