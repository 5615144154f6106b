"""Figures now, figures over time, health."""

from datetime import UTC, datetime

import httpx
import pytest

from leasebox.audit.jobs import seal
from leasebox.infra import migrate
from leasebox.leases.domains_jobs import ensure_own_keys
from leasebox.values.keys import Purpose, derive
from leasebox.wiring.domains import dkim_keys
from leasebox.wiring.worker import SEALED
from tests.admin.desk import said
from tests.billing.shop import lease_with, proof, use_up
from tests.kit import House

SERIES = "/v2/admin/series"


async def test_the_overview_counts(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    await use_up(agent, 5)
    assert (await lease_with(agent)).status_code == 402
    assert (await lease_with(agent, await proof(agent))).status_code == 201
    told = await said(await owner.get("/v2/admin/overview"))
    wanted = {
        "tenants_active": 1,
        "tenants_suspended": 0,
        "live_leases": 6,
        "leases_24h": 6,
        "signups_24h": 1,
        "usage_events_24h": 6,
        "denials_24h": 1,
        "messages_24h": 0,
        "revenue_month_usdc": "0.001000",
        "owed_usdc": "0.001000",
        "balance_usdc": "0.000000",
    }
    assert {name: told[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("figure", "value"),
    [("signups", 2), ("leases", 6), ("messages", 0), ("usage", 6), ("revenue", "0.001000"), ("denials", 1)],
)
async def test_series(run: House, owner: httpx.AsyncClient, figure: str, value: object) -> None:
    agent = await run.agent()
    await run.agent()
    await use_up(agent, 5)
    assert (await lease_with(agent)).status_code == 402
    assert (await lease_with(agent, await proof(agent))).status_code == 201
    params = {"figure": figure, "step": "day", "until": (run.clock.now().replace(microsecond=999_999)).isoformat()}
    run.clock.advance(seconds=2)
    told = await said(await owner.get(SERIES, params={**params, "until": run.clock.now().isoformat()}))
    assert 30 <= len(told["points"]) <= 32
    assert [each["value"] for each in told["points"]][-1] == value
    assert set(told["points"][0]) == {"starts_at", "value"}
    empty = "0.000000" if figure == "revenue" else 0
    assert [each["value"] for each in told["points"]][:-2] == [empty] * (len(told["points"]) - 2)


async def test_hours_are_bounded(run: House, owner: httpx.AsyncClient) -> None:
    until = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    params = {"figure": "leases", "step": "hour", "until": until.isoformat()}
    assert len((await said(await owner.get(SERIES, params=params)))["points"]) == 25
    month = await said(await owner.get(SERIES, params={**params, "since": "2026-02-01T00:00:00Z"}))
    assert len(month["points"]) == 28 * 24 + 13
    for since in ("2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z"):
        assert (await owner.get(SERIES, params={**params, "since": since})).status_code == 400
    for since in ("2026-03-01T13:00:00Z", "2027-01-01T00:00:00Z"):
        assert (await owner.get(SERIES, params={**params, "since": since})).status_code == 400


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"figure": "secrets"},
        {"figure": "leases", "step": "minute"},
        {"figure": "leases", "until": "0001-01-01T00:00:00Z"},
        {"figure": "leases", "until": "9999-12-31T23:59:59Z", "since": "0001-01-01T00:00:00Z"},
    ],
)
async def test_what_is_no_series(run: House, owner: httpx.AsyncClient, params: dict[str, str]) -> None:
    assert (await owner.get(SERIES, params=params)).status_code == 400


async def test_health(run: House, owner: httpx.AsyncClient) -> None:
    told = await said(await owner.get("/v2/admin/health"))
    assert told["migration"] == told["migration_needed"] == migrate.revisions()[-1]
    assert told["redis"] is True
    waiting = {each["job"]: each["waiting"] for each in told["jobs"]}
    assert waiting == {
        "parse": 0, "holds": 0, "purge": 0, "invoices": 0, "seal": 2, "fan_out": 0, "deliveries": 0,
    }  # fmt: skip
    assert told["alerts"] == []
    assert await seal(run.db, SEALED, derive(run.settings.secret, Purpose.AUDIT_HEAD), run.clock) == 2
    told = await said(await owner.get("/v2/admin/health"))
    assert {each["job"]: each["waiting"] for each in told["jobs"]}["seal"] == 0


async def test_health_tells_which_master_key_seals_what(run: House, owner: httpx.AsyncClient) -> None:
    await ensure_own_keys(run.db, dkim_keys(run.settings), ["ours.test"], run.clock)
    lost = "UPDATE dkim_keys SET kid = 'ffffffff', sealed = 'x' WHERE algorithm = 'rsa-sha256'"
    await run.db.transact(lambda tx: tx.run(lost))
    told = await said(await owner.get("/v2/admin/health"))
    assert told["seals"] == [
        {"table": "dkim_keys", "current": 1, "previous": 0, "lost": 1},
        {"table": "webhook_secrets", "current": 0, "previous": 0, "lost": 0},
    ]


async def test_a_backlog_shows(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    await use_up(agent, 5)
    await proof(agent)
    run.clock.advance(minutes=5)
    jobs = {each["job"]: each for each in (await said(await owner.get("/v2/admin/health")))["jobs"]}
    assert jobs["holds"]["waiting"] == 1
    assert jobs["holds"]["oldest_at"] is not None
