"""The catalogue of public facts: what can happen, under which name, and how it is told."""

from collections.abc import Mapping
from typing import Any

import msgspec

MESSAGE_RECEIVED = "message.received"
OTP_EXTRACTED = "otp.extracted"
MESSAGE_SENT = "message.sent"
MESSAGE_DELIVERED = "message.delivered"
MESSAGE_BOUNCED = "message.bounced"
LEASE_EXPIRING = "lease.expiring"
LEASE_EXPIRED = "lease.expired"
LEASE_RELEASED = "lease.released"
USAGE_DENIED = "usage.denied"
INVOICE_ISSUED = "invoice.issued"
INVOICE_PAID = "invoice.paid"
BALANCE_LOW = "balance.low"
WEBHOOK_DISABLED = "webhook.disabled"


class Event(msgspec.Struct, frozen=True):
    """One public fact, told alike by the event log, SSE, WebSocket and webhooks.

    event_id: stable and unique, so that a receiver can drop what it has seen; created_at: RFC 3339; mailbox_id and
    lease_id: null where it happened to no mailbox; data: ids and numbers, as `FACTS` shows for each type.
    """

    event_id: str
    type: str
    created_at: str
    tenant_id: str
    mailbox_id: str | None
    lease_id: str | None
    data: dict[str, Any]


class Described(msgspec.Struct, frozen=True):
    """What a type of fact means, in one line, and the `data` of an example."""

    meaning: str
    example: dict[str, Any]


_LEASE_ID = "lse_01kzqv3b7cf8q9x2m4n6p8r0t2"
_MAILBOX_ID = "mbx_01kzqv3b7df8q9x2m4n6p8r0t2"
_PLACE = {"mailbox_id": _MAILBOX_ID, "lease_id": _LEASE_ID}
_LEASE = {**_PLACE, "expires_at": "2026-11-20T11:00:00Z"}
_RECEIVED = {"message_id": "msg_01kzqv5d3gf8q9x2m4n6p8r0t2", **_PLACE, "parsed_status": "parsed"}
_SENT = {
    "send_attempt_id": "snd_01kzqv6k3gf8q9x2m4n6p8r0t2",
    "message_id": "msg_01kzqv6k3hf8q9x2m4n6p8r0t2",
    **_PLACE,
}
_TAKEN = {**_SENT, "address": "eve@shop.example", "reply_code": 250}
_REFUSED = {**_SENT, "address": "eve@shop.example", "reply_code": 550}
_INVOICE = {
    "invoice_id": "inv_01kzqv7n3gf8q9x2m4n6p8r0t2",
    "state": "issued",
    "period": "2026-10",
    "total_usdc": "0.012000",
    "due_usdc": "0.012000",
}
_BALANCE = {
    "available_usdc": "0.009000",
    "balance_usdc": "0.004000",
    "credit_left_usdc": "0.005000",
    "mark_usdc": "0.010000",
}
_WEBHOOK = {"webhook_id": "whk_01kzqv8p3gf8q9x2m4n6p8r0t2", "reason": "gone"}

FACTS: Mapping[str, Described] = {
    MESSAGE_RECEIVED: Described("A mail has come in and can be read.", _RECEIVED),
    OTP_EXTRACTED: Described("A code or a verification link was found in a mail that has come in.", _RECEIVED),
    MESSAGE_SENT: Described("A mail was taken by the first of its recipients' servers.", _SENT),
    MESSAGE_DELIVERED: Described("A mail has reached a recipient.", _TAKEN),
    MESSAGE_BOUNCED: Described("A mail could not be delivered to a recipient.", _REFUSED),
    LEASE_EXPIRING: Described("A lease ends in five minutes at most, unless it is renewed.", _LEASE),
    LEASE_EXPIRED: Described("A lease has ended because its time was over.", _LEASE),
    LEASE_RELEASED: Described("A lease was given up, or taken back by the operator.", _LEASE),
    INVOICE_ISSUED: Described("The invoice of a month was issued.", _INVOICE),
    INVOICE_PAID: Described("An invoice was paid.", {**_INVOICE, "state": "paid", "due_usdc": "0.000000"}),
    BALANCE_LOW: Described("What can still be spent, balance and credit, has fallen below the mark.", _BALANCE),
    WEBHOOK_DISABLED: Described("A webhook was disabled: it kept failing, said 410, or the operator did it.", _WEBHOOK),
}
"""Every public type. What is not in it (`usage.denied`) stays in the log and is told to nobody."""

PUBLIC = tuple(FACTS)


def example_of(type_: str) -> Event:
    """An event of a public type as a receiver would see it."""
    described = FACTS[type_]
    return Event(
        event_id="evt_01kzqv9r3gf8q9x2m4n6p8r0t2",
        type=type_,
        created_at="2026-11-20T10:55:00.123456Z",
        tenant_id="ten_01kzqv1a3gf8q9x2m4n6p8r0t2",
        mailbox_id=described.example.get("mailbox_id"),
        lease_id=described.example.get("lease_id"),
        data=described.example,
    )
