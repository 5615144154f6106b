"""The very bytes that are hashed: fixed for ever, since what was sealed once must hash the same for ever."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from leasebox.audit.entries import audit_entry, fact_entry
from leasebox.audit.logs import AUDIT, FACTS
from leasebox.audit.tables import Log

ID = UUID("019aa0c3-7e5a-7c3b-8d2e-5f60718293a4")
AT = datetime(2026, 11, 20, 10, 2, 24, 123456, tzinfo=UTC)
ACT: dict[str, Any] = {
    "id": ID,
    "at": AT,
    "tenant_id": ID,
    "actor": "wallet:0xAb",
    "action": "lease.release",
    "resource": 'a"b\\c\n\t\x01\x7f/é \u2028𝄞',
    "outcome": "done",
    "request_id": "req_1",
    "detail": '{"n": 1.50, "big": 123456789012345678901234567890, "text": "ü\\n"}',
    "xid": 756,
}
FACT: dict[str, Any] = {
    "id": ID,
    "at": AT.replace(microsecond=0),
    "tenant_id": ID,
    "mailbox_id": None,
    "lease_id": ID,
    "type": "message.received",
    "payload": "{}",
    "xid": 2**63,
}


def test_an_audit_rows_line() -> None:
    line = audit_entry(ACT)
    assert line.decode() == (
        '{"log":"audit/1","id":"aud_01kagc6zjtfgxrtbjzc1rr54x4","at":"2026-11-20T10:02:24.123456Z",'
        '"tenant_id":"ten_01kagc6zjtfgxrtbjzc1rr54x4","actor":"wallet:0xAb","action":"lease.release",'
        '"resource":"a\\"b\\\\c\\n\\t\\u0001\x7f/é \u2028𝄞","outcome":"done","request_id":"req_1",'
        '"detail":{"n": 1.50, "big": 123456789012345678901234567890, "text": "ü\\n"},"xid":756}'
    )
    assert (
        hashlib.sha256(b"\x00" + line).hexdigest() == "80ee521a6ad648dd184f3cd2f5593d1b266e0a4a84b2f443089828446fbc99ba"
    )


def test_a_facts_line() -> None:
    assert fact_entry(FACT).decode() == (
        '{"log":"facts/1","id":"evt_01kagc6zjtfgxrtbjzc1rr54x4","at":"2026-11-20T10:02:24Z",'
        '"tenant_id":"ten_01kagc6zjtfgxrtbjzc1rr54x4","mailbox_id":null,"lease_id":"lse_01kagc6zjtfgxrtbjzc1rr54x4",'
        '"type":"message.received","payload":{},"xid":9223372036854775808}'
    )


@pytest.mark.parametrize(("log", "row"), [(AUDIT, ACT), (FACTS, FACT)], ids=["audit", "facts"])
def test_a_line_says_every_column_and_stays_one_line(log: Log, row: dict[str, Any]) -> None:
    """A column that is added later must be decided on: in a new form, with a new number."""
    line = log.entry(row)
    assert json.loads(line).keys() - {"log"} == {each.name for each in log.table.c}
    assert b"\n" not in line
