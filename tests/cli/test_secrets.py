"""`leasebox secrets`: the master key is changed under rows of every kind, killed in the middle, refused when unsafe."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner, Result

from leasebox.cli.secrets import secrets
from leasebox.infra import db, kept_answers, master_key, migrate
from leasebox.infra.db import Database
from leasebox.infra.embedded import Engines, EngineUrls
from leasebox.infra.kept_answers import KeptAnswer, place_of
from leasebox.infra.seal import opened, seal
from leasebox.leases import domains
from leasebox.leases.domains_jobs import ensure_own_keys
from leasebox.values.ids import TenantId, WebhookId
from leasebox.values.keys import KeyRing, Purpose, ring
from leasebox.values.secret import Secret
from leasebox.webhooks import signing
from tests.databases import database_named, drop, execute
from tests.fakes.clock import FakeClock

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OLD, NEW = "the master key of yesterday, only for tests", "the master key of tomorrow, only for tests"
DOMAIN, PRINT, WHSEC = "inbox.leasebox.test", b"p" * 32, Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
TENANT, HOOK = TenantId.new(NOW), WebhookId.new(NOW)
HOOKED = f"""
INSERT INTO tenants (id, status, created_at) VALUES ('{TENANT.hex}', 'active', now());
INSERT INTO webhooks (id, tenant_id, target_url, event_types, status, created_at)
VALUES ('{HOOK.hex}', '{TENANT.hex}', 'https://hooks.example/', '{{}}', 'enabled', now())
"""


def keys(purpose: Purpose, master: str = OLD) -> KeyRing:
    return ring(Secret(master), None, purpose)


async def fill(database: Database, url: str, answers: int, master: str = OLD) -> None:
    """Two DKIM keys, a webhook's secret and some kept answers."""
    await ensure_own_keys(database, keys(Purpose.DKIM_KEY, master), [DOMAIN], FakeClock())
    connection = await asyncpg.connect(url)
    await connection.execute(HOOKED)
    stored = signing.seal(keys(Purpose.WEBHOOK_SECRET, master), HOOK, 1, WHSEC)
    await connection.execute(
        "INSERT INTO webhook_secrets (webhook_id, number, kid, sealed) VALUES ($1, 1, $2, $3)",
        HOOK,
        stored.kid,
        stored.sealed,
    )
    await connection.close()
    ours = keys(Purpose.KEPT_ANSWER, master)
    for number in range(answers):
        key = f"key-{number:04}"
        sealed = seal(ours, place_of(TENANT, key, PRINT), b"shown once")
        kept = KeptAnswer(PRINT, 201, ours.current.kid, sealed)
        await database.transact(lambda tx, key=key, kept=kept: kept_answers.keep(tx, TENANT, key, kept, NOW))  # type: ignore[misc]


async def all_opened(database: Database, master: str) -> int:
    """How many rows this master key alone opens; raises for any that it does not."""
    dkim = await database.read(lambda tx: domains.signing_keys(tx, keys(Purpose.DKIM_KEY, master), DOMAIN, None))
    hooks = await database.read(lambda tx: tx.all("SELECT number, kid, sealed FROM webhook_secrets"))
    for row in hooks:
        stored = signing.SealedSecret(row["number"], row["kid"], row["sealed"])
        assert signing.unseal(keys(Purpose.WEBHOOK_SECRET, master), HOOK, stored) == WHSEC
    answers = await database.read(lambda tx: tx.all("SELECT key, kid, sealed FROM kept_answers"))
    for row in answers:
        place = place_of(TENANT, row["key"], PRINT)
        assert opened(keys(Purpose.KEPT_ANSWER, master), place, row["sealed"], row["kid"]) == b"shown once"
    return len(dkim) + len(hooks) + len(answers)


class Stage:
    """A database and the command on it."""

    def __init__(self, url: str, environ: dict[str, str]) -> None:
        self.url = url
        self.environ = environ

    def do(self, work: Callable[[Database], Awaitable[Any]]) -> Any:
        async def on_it() -> Any:
            database = await db.connect(self.url)
            try:
                return await work(database)
            finally:
                await database.close()

        return asyncio.run(on_it())

    def fill(self, answers: int = 3, master: str = OLD) -> None:
        self.do(lambda database: fill(database, self.url, answers, master))

    def run(self, *words: str, **environ: str) -> Result:
        return CliRunner().invoke(secrets, words, env={**self.environ, **environ})


@pytest.fixture
def stage(engines: EngineUrls, template: str, tmp_path: Path) -> Iterator[Stage]:
    assert engines.database_url is not None
    name, administer = f"{template}_secrets", engines.database_url

    asyncio.run(execute(administer, f"CREATE DATABASE {name} TEMPLATE {template}"))
    url = database_named(administer, name)
    yield Stage(url, {"DATABASE_URL": url, "LEASEBOX_HOME": str(tmp_path / "home"), "LEASEBOX_SECRET": OLD})
    asyncio.run(drop(administer, name))


def figures(output: str) -> dict[str, list[int]]:
    """The counts of the table that is printed: current, previous, neither."""
    rows = [line.split() for line in output.splitlines()]
    return {row[0]: [int(each.replace(",", "")) for each in row[1:]] for row in rows if row and "_" in row[0]}


def test_rows_of_every_kind_are_sealed_anew_and_the_old_key_may_go(stage: Stage) -> None:
    stage.fill()
    both = {"LEASEBOX_SECRET": NEW, "LEASEBOX_SECRET_PREVIOUS": OLD}
    before = stage.run("status", **both)
    assert figures(before.stdout) == {"dkim_keys": [0, 2, 0], "webhook_secrets": [0, 1, 0], "kept_answers": [0, 3, 0]}
    assert before.exit_code == 0
    refused = stage.run("retire", **both)
    assert refused.exit_code == 1
    assert refused.stderr.splitlines() == [
        "leasebox: dkim_keys: 2 rows",
        "leasebox: webhook_secrets: 1 rows",
        "leasebox: kept_answers: 3 rows",
        "leasebox: the previous master key is needed: run `leasebox secrets rotate` first",
    ]
    for _ in range(2):
        done = stage.run("rotate", **both)
        assert (done.exit_code, done.stderr) == (0, "")
        assert figures(done.stdout) == {"dkim_keys": [2, 0, 0], "webhook_secrets": [1, 0, 0], "kept_answers": [3, 0, 0]}
        assert f"everything is sealed with {master_key.name_of(Secret(NEW))}" in done.stdout
    assert stage.do(lambda database: all_opened(database, NEW)) == 6
    retired = stage.run("retire", **both)
    assert retired.exit_code == 0
    assert "unset LEASEBOX_SECRET_PREVIOUS" in retired.stdout
    for secret in (OLD, NEW):
        assert secret not in before.output + refused.output + done.output + retired.output


def test_where_the_key_is_the_operators_the_order_of_steps_is_told(stage: Stage) -> None:
    refused = stage.run("rotate")
    assert refused.exit_code == 2
    steps = [line.removeprefix("leasebox: ") for line in refused.stderr.splitlines()]
    assert [step[0] for step in steps] == ["t", "1", "2", "3"]
    assert "LEASEBOX_SECRET_PREVIOUS" in steps[1]
    assert stage.run("retire").exit_code == 2


def test_rows_of_a_key_that_is_not_at_hand_are_named(stage: Stage) -> None:
    stage.fill(master="a master key that nobody remembers any more")
    kid = keys(Purpose.KEPT_ANSWER, "a master key that nobody remembers any more").current.kid
    seen = stage.run("status")
    assert seen.exit_code == 1
    assert figures(seen.stdout)["kept_answers"] == [0, 0, 3]
    assert f"kept_answers: 3 rows are sealed with the key {kid}, which comes from neither master key" in seen.stderr
    rotated = stage.run("rotate", LEASEBOX_SECRET=NEW, LEASEBOX_SECRET_PREVIOUS=OLD)
    assert rotated.exit_code == 1
    assert f"kept_answers, key {kid}: it was sealed with a key that is neither" in rotated.stderr
    assert len(rotated.stderr.splitlines()) == 3, "each reason once"


def test_a_value_moved_to_another_row_keeps_the_old_key(stage: Stage) -> None:
    stage.fill()
    moved = """UPDATE kept_answers SET sealed = (SELECT sealed FROM kept_answers WHERE key = 'key-0001')
        WHERE key = 'key-0002'"""
    stage.do(lambda database: database.transact(lambda tx: tx.run(moved)))
    both = {"LEASEBOX_SECRET": NEW, "LEASEBOX_SECRET_PREVIOUS": OLD}
    rotated = stage.run("rotate", **both)
    assert rotated.exit_code == 1
    assert figures(rotated.stdout)["kept_answers"] == [2, 1, 0]
    assert "it was changed, or moved here" in rotated.stderr
    assert stage.run("retire", **both).exit_code == 1


def test_killed_in_the_middle_it_goes_on(stage: Stage) -> None:
    """It is stopped at a row that somebody holds, in its third batch, and gets SIGKILL there."""
    stage.fill(answers=650)
    environ = {**stage.environ, "LEASEBOX_SECRET": NEW, "LEASEBOX_SECRET_PREVIOUS": OLD}

    def start() -> "subprocess.Popen[bytes]":
        argv = [sys.executable, "-P", "-m", "leasebox", "secrets", "rotate"]
        return subprocess.Popen(argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def kill_it(database: Database) -> None:
        holder = await asyncpg.connect(stage.url)
        await holder.execute("BEGIN; SELECT 1 FROM kept_answers WHERE key = 'key-0500' FOR UPDATE")
        process = start()
        new = keys(Purpose.KEPT_ANSWER, NEW).current.kid
        counted = "SELECT count(*) FROM kept_answers WHERE kid = $1"
        deadline = time.monotonic() + 60
        while await database.read(lambda tx: tx.value(counted, new)) < 400:
            assert process.poll() is None
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
        await holder.close()
        assert await database.read(lambda tx: tx.value(counted, new)) == 400

    stage.do(kill_it)
    both = {"LEASEBOX_SECRET": NEW, "LEASEBOX_SECRET_PREVIOUS": OLD}
    assert figures(stage.run("status", **both).stdout)["kept_answers"] == [400, 250, 0]
    assert stage.run("retire", **both).exit_code == 1
    assert stage.run("rotate", **both).exit_code == 0
    assert stage.do(lambda database: all_opened(database, NEW)) == 653


def test_a_home_changes_its_own_key_around_a_restart(tmp_path: Path) -> None:
    home = tmp_path / "home"
    engines = Engines(home)
    urls = engines.start()
    try:
        assert urls.database_url is not None
        migrate.upgrade(urls.database_url)
        stage = Stage(urls.database_url, {"LEASEBOX_HOME": str(home)})
        assert stage.run("rotate").exit_code == 2, "no key yet"
        master_key.keep(home, Secret(OLD))
        master_key.note_use(home, Secret(OLD))  # as `leasebox up` does
        stage.fill()
        made = stage.run("rotate")
        assert made.exit_code == 1
        assert made.stdout.startswith("new master key ")
        assert "restart it, then run `leasebox secrets rotate` again" in made.stderr
        fresh = master_key.current(home).read_text().strip()
        assert stage.run("rotate").exit_code == stage.run("retire").exit_code == 1, "not restarted yet"
        assert master_key.current(home).read_text().strip() == fresh, "one change at a time"
        assert figures(stage.run("status").stdout)["kept_answers"] == [0, 3, 0]
        master_key.note_use(home, Secret(fresh))
        assert stage.run("rotate").exit_code == 0
        assert stage.do(lambda database: all_opened(database, fresh)) == 6
        with master_key.changing(home):
            assert stage.run("retire").exit_code == 2
        retired = stage.run("retire")
        assert retired.exit_code == 0
        assert f"{master_key.name_of(Secret(OLD))} is gone" in retired.stdout
        assert not master_key.previous(home).exists()
        assert stage.run("retire").exit_code == 2
    finally:
        engines.stop()
