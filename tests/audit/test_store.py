"""An act is stored as it was told."""

from collections.abc import AsyncIterator

import pytest

from leasebox.audit import store
from leasebox.audit.model import Act
from tests.audit.sealed import Sealed, sealed_on


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[Sealed]:
    async with sealed_on(database_url) as sealed:
        yield sealed


@pytest.mark.parametrize("tenant", ["its own", "none"])
async def test_an_act_is_stored_as_it_was_told(log: Sealed, tenant: str) -> None:
    told = log.act(7, outcome="denied")
    act = told if tenant == "its own" else Act(told.at, "job:seal", "x.y", "z", None, "req_2", detail={"a": [1, None]})
    await log.db.transact(lambda tx: store.insert(tx, act))
    row = await log.raw.fetchrow("SELECT *, detail::text AS words, xid::text::bigint AS number FROM audit_rows")
    assert row is not None
    for name in ("at", "actor", "action", "resource", "tenant_id", "request_id", "outcome"):
        assert row[name] == getattr(act, name)
    assert row["words"] == ('{"n": 7, "price": 1.5}' if tenant == "its own" else '{"a": [1, null]}')
    assert row["number"] > 0
