"""What every role stands on: the loop, the signal, database and Redis; settings become policies."""

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from leasebox.infra import migrate, reach
from leasebox.values.errors import Unavailable
from leasebox.wiring import process
from tests.kit import settings_for

WAITS = """
import asyncio
from leasebox.wiring import process
async def main(stop):
    print("up", flush=True)
    await stop.wait()
    print("drained", flush=True)
process.run(main)
"""
AWAY = """
from leasebox.infra import log
from leasebox.values.errors import Unavailable
from leasebox.wiring import process
log.configure("info", "json")
async def main(stop):
    raise Unavailable("The database does not answer: Gone.")
process.run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_role_drain(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True) as role:
        assert role.stdout is not None
        assert role.stdout.readline() == "up\n"
        os.kill(role.pid, number)
        assert role.communicate(timeout=20)[0] == "drained\n"
    assert role.returncode == 0


def test_a_server_away_at_the_start_is_one_line_and_status_1() -> None:
    done = subprocess.run([sys.executable, "-c", AWAY], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "The database does not answer: Gone." in done.stderr


async def test_the_backbone_reaches_database_and_redis(database_url: str, redis_url: str, tmp_path: Path) -> None:
    async with process.backbone(settings_for(database_url, redis_url, str(tmp_path)), connections=2) as base:
        assert await base.db.read(lambda tx: tx.value("SELECT 1")) == 1
        await base.cache.ping()
    with pytest.raises(Unavailable):
        await base.db.read(lambda tx: tx.value("SELECT 1"))


async def test_a_role_that_climbs_the_wall_is_told_of_at_the_start(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(database_url, redis_url, str(tmp_path))
    with structlog.testing.capture_logs() as lines:
        async with process.backbone(settings, connections=2):
            assert lines == []
        monkeypatch.setattr(reach, "CLIMBS", "SELECT true")
        async with process.backbone(settings, connections=2):
            assert [line["log_level"] for line in lines] == ["warning"]
    assert "NOSUPERUSER" in lines[0]["fix"]


async def test_only_what_needs_no_table_goes_before_the_last_migration(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, last = settings_for(database_url, redis_url, str(tmp_path)), migrate.revisions()
    monkeypatch.setattr(migrate, "revisions", lambda: [*last, "9999"])
    async with process.connected(settings, connections=2) as base:
        waiting = asyncio.create_task(process.migrated(base.db))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        waiting.cancel()
        monkeypatch.setattr(migrate, "revisions", lambda: last)
        await process.migrated(base.db)


async def test_without_a_database_there_is_none(redis_url: str, tmp_path: Path) -> None:
    settings = settings_for("postgresql://u:p@127.0.0.1:1/d", redis_url, str(tmp_path))
    with pytest.raises(Unavailable):
        async with process.backbone(settings):
            raise AssertionError("unreachable")


def test_settings_become_the_policy_of_leasing(tmp_path: Path) -> None:
    more = {
        "LEASEBOX_MAIL_DOMAIN": "a.test, b.test",
        "LEASEBOX_RETENTION_HOURS": "5",
        "LEASEBOX_NAME_HOLD_DAYS": "7",
        "LEASEBOX_LEASE_QUOTA_MIB": "3",
        "LEASEBOX_LEASE_QUOTA_MAILS": "11",
    }
    policy = process.lease_policy(settings_for("postgresql://u:p@h/d", "redis://h/0", str(tmp_path), **more))
    assert (policy.domains, policy.retention) == (("a.test", "b.test"), timedelta(hours=5))
    assert (policy.name_hold, policy.quota_bytes, policy.quota_messages) == (timedelta(days=7), 3 * 1024**2, 11)


def test_a_role_without_urls_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="DATABASE_URL and REDIS_URL"):
        process._revealed(None)
