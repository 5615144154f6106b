"""What is stored of recipients reads back as it was, and a query narrows nothing by itself."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from leasebox.mail.model import LARGE, SMALL, SMALL_OCTETS, Query, Recipient, kind_of
from leasebox.values.ids import LeaseId, MailboxId, MessageId, TenantId

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)


def test_a_recipient_goes_through_json_unchanged() -> None:
    to = Recipient(MessageId.new(NOW), LeaseId.new(NOW), MailboxId.new(NOW), TenantId.new(NOW))
    stored = msgspec.json.decode(msgspec.json.encode(to, enc_hook=str))
    read = Recipient(
        MessageId(stored["message_id"]),
        LeaseId(stored["lease_id"]),
        MailboxId(stored["mailbox_id"]),
        TenantId(stored["tenant_id"]),
    )
    assert read == to


def test_mails_are_of_two_kinds() -> None:
    assert [kind_of(octets) for octets in (0, SMALL_OCTETS, SMALL_OCTETS + 1)] == [SMALL, SMALL, LARGE]


def test_a_query_without_criteria_has_none_and_cannot_change() -> None:
    query = Query(tenant_id=TenantId.new(NOW), within=None, at=NOW, retention=timedelta(hours=72))
    criteria = ("mailbox_id", "since", "until", "text", "thread_id", "direction", "sender", "subject")
    assert {getattr(query, name) for name in criteria} == {None}
    assert (query.has, query.labels) == ("any", ())
    with pytest.raises(AttributeError):
        query.text = "x"  # type: ignore[misc]
