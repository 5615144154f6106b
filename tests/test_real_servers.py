"""`DATABASE_URL` and `REDIS_URL`: the same leasebox on Debian's own PostgreSQL 15 and Redis, or one clear refusal."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import asyncpg
import httpx
import pytest

from leasebox.infra import migrate
from tests import debian
from tests.instance import up
from tests.kit import SECRET
from tests.tours.walker import Walker, code_mail, post, processes, refusal

FREE = {"LEASEBOX_SIGNIN_RATE": "0", "LEASEBOX_TENANT_RATE": "0"}


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with debian.postgres_15() as url:
        yield url


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    with debian.redis_server() as url:
        yield url


@pytest.fixture
def database(postgres: str) -> str:
    """A database without a table."""
    return asyncio.run(debian.database(postgres, f"box_{uuid4().hex}"))


def leasebox(home: Path, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """The command, run to its end."""
    environ = {
        name: text for name, text in os.environ.items() if not name.startswith(("LEASEBOX_", "DATABASE_", "REDIS_"))
    }
    ours = {"LEASEBOX_HOME": str(home), "LEASEBOX_HTTP": "127.0.0.1:0", "LEASEBOX_SMTP": "127.0.0.1:0"}
    ours |= {"LEASEBOX_SUBMISSION": "127.0.0.1:0"}
    return subprocess.run(
        [sys.executable, "-P", "-m", "leasebox", *words],
        env={**environ, **ours, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.timeout(180)
def test_everything_works_on_servers_of_ones_own(database: str, redis: str, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": database, "REDIS_URL": redis, "LEASEBOX_SECRET": SECRET, **FREE}
    with up(tmp_path / "home", **settings) as box, Walker(box) as walker:
        assert {"postgres", "valkey"}.isdisjoint(processes(box)), "no engine of our own beside them"
        lease = walker.lease(local_part="debian")
        waiting = walker.waiting(lease["mailbox_id"], has="otp")
        post(box, code_mail("135246"), lease["address"])
        assert waiting.result().json()["otp_code"] == "135246"
        assert httpx.get(f"{box.url}/readyz").status_code == 200
        assert walker.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/release").status_code == 202
        assert refusal(box, lease["address"]) == 550
        assert asyncio.run(migrate.current(database)) == migrate.revisions()[-1]
    with up(tmp_path / "another-home", **settings) as box, walker.elsewhere(box) as again:
        assert again.codes() == {"135246"}, "what matters stands in the servers, not in the home"


def test_a_role_alone_refuses_a_database_that_lacks_migrations(database: str, redis: str, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": database, "REDIS_URL": redis, "LEASEBOX_SECRET": SECRET}
    refused = leasebox(tmp_path, "serve", "http", **settings)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines() == [
        f"leasebox: the database lacks the migrations {', '.join(migrate.revisions())}: run `leasebox migrate`"
    ]
    done = leasebox(tmp_path, "migrate", **settings)
    assert (done.returncode, done.stdout) == (0, f"applied {', '.join(migrate.revisions())}\n")
    assert leasebox(tmp_path, "migrate", **settings).stdout == "nothing to apply\n"


@pytest.mark.parametrize("words", [("up",), ("serve", "http"), ("serve", "parser"), ("migrate",)], ids=" ".join)
def test_a_wrong_password_is_one_line_that_does_not_show_it(
    postgres: str, redis: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    wrong = postgres.replace(quote(debian.PASSWORD, safe=""), "c4n4ry-wrong")
    refused = leasebox(tmp_path, *words, DATABASE_URL=wrong, REDIS_URL=redis, LEASEBOX_SECRET=SECRET)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stderr.startswith("leasebox: DATABASE_URL: ")
    assert "password authentication failed" in refused.stderr
    assert "c4n4ry" not in refused.stderr


@pytest.mark.parametrize("words", [("up",), ("serve", "smtp")], ids=" ".join)
@pytest.mark.parametrize("broken", ["password", "port"])
def test_so_is_a_redis_that_cannot_be_used(
    database: str, redis: str, tmp_path: Path, words: tuple[str, ...], broken: str
) -> None:
    wrong = (
        redis.replace(quote(debian.PASSWORD, safe=""), "c4n4ry")
        if broken == "password"
        else "redis://:c4n4ry@127.0.0.1:1/0"
    )
    refused = leasebox(tmp_path, *words, DATABASE_URL=database, REDIS_URL=wrong, LEASEBOX_SECRET=SECRET)
    assert (refused.returncode, refused.stdout) == (2, "")
    said = refused.stderr.splitlines()
    assert len([line for line in said if line.startswith("leasebox: REDIS_URL: cannot use the server at ")]) == 1
    assert "c4n4ry" not in refused.stderr


def test_a_database_that_is_not_there_is_named(postgres: str, redis: str, tmp_path: Path) -> None:
    missing = postgres.removesuffix("postgres") + "nowhere"
    refused = leasebox(tmp_path, "up", DATABASE_URL=missing, REDIS_URL=redis, LEASEBOX_SECRET=SECRET)
    assert refused.returncode == 2
    assert 'database "nowhere" does not exist' in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_database_of_ones_own_needs_a_master_key_of_ones_own(postgres: str, redis: str, tmp_path: Path) -> None:
    refused = leasebox(tmp_path, "up", DATABASE_URL=postgres, REDIS_URL=redis)
    assert refused.returncode == 2
    assert refused.stderr.startswith("leasebox: LEASEBOX_SECRET: required with DATABASE_URL")


async def test_a_database_whose_owner_is_nobody_special_will_do(postgres: str, tmp_path: Path) -> None:
    server = await asyncpg.connect(postgres)
    name = f"tenant_{uuid4().hex}"
    await server.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'c4n4ry' NOSUPERUSER NOCREATEDB NOCREATEROLE")
    await server.execute(f"CREATE DATABASE {name} OWNER {name}")
    await server.close()
    url = f"postgresql://{name}:c4n4ry@{postgres.rpartition('@')[2].removesuffix('postgres')}{name}"
    assert await asyncio.to_thread(migrate.upgrade, url) == migrate.revisions()
