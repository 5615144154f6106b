"""The functions behind lease and release write ids and times as Python does."""

from datetime import UTC, datetime

import pytest

from leasebox.values.clock import rfc3339
from leasebox.values.ids import MailboxId
from tests.kit import House

MOMENTS = [datetime(2026, 11, 20, 10, 2, 24, micros, UTC) for micros in (0, 1, 120_000, 999_999)]


@pytest.mark.parametrize("at", MOMENTS, ids=["whole", "one", "hundreds", "last"])
async def test_the_database_spells_ids_and_times_alike(house: House, at: datetime) -> None:
    mailbox_id = MailboxId.new(at)
    row = await house.db.read(lambda tx: tx.one("SELECT spelled('mbx', $1) AS id, rfc3339($2) AS at", mailbox_id, at))
    assert row is not None
    assert (row["id"], row["at"]) == (str(mailbox_id), rfc3339(at))
