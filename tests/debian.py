"""Debian's own PostgreSQL 15 and Redis, private to a test: what an operator names in DATABASE_URL and REDIS_URL."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from redis import Redis
from redis.exceptions import RedisError

from leasebox.infra import ports
from leasebox.infra.confine import NOBODY

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "pass:w/rd @c4n4ry"
_PATIENCE_S = 60.0


@contextmanager
def postgres_15(*settings: str) -> Iterator[str]:
    """A fresh cluster on a loopback port that asks for a password; its URL. settings: `name=value`."""
    if not (PROGRAMS / "postgres").exists():
        pytest.skip("Debian's PostgreSQL 15 is absent")
    with _place() as place:
        (place / "password").write_text(PASSWORD)
        words = ["-A", "scram-sha-256", "--pwfile", str(place / "password"), "-U", "leasebox", "--no-sync"]
        _run([str(PROGRAMS / "initdb"), "-D", str(place / "data"), "--locale=C.UTF-8", "--encoding=UTF8", *words])
        port = ports.claim("127.0.0.1", 0)
        asked = [f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={place}", *settings]
        argv = [
            str(PROGRAMS / "postgres"),
            "-D",
            str(place / "data"),
            *(word for each in asked for word in ("-c", each)),
        ]
        url = f"postgresql://leasebox:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"
        with _serving(argv, place, signal.SIGINT):
            _await(lambda: asyncio.run(_connects(url)))
            yield url


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis on a loopback port that asks for a password; its URL."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("Debian's redis-server is absent")
    with _place() as place:
        port = ports.claim("127.0.0.1", 0)
        (place / "redis.conf").write_text(
            f'bind 127.0.0.1\nport {port}\nrequirepass "{PASSWORD}"\nsave ""\nappendonly no\ndir {place}\n'
        )
        url = f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/0"
        with _serving([program, str(place / "redis.conf")], place, signal.SIGTERM):
            _await(lambda: _pings(url))
            yield url


async def database(url: str, name: str) -> str:
    """A new database on that server; its URL."""
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return url.removesuffix("/postgres") + f"/{name}"


def _identity() -> dict[str, Any]:
    # PostgreSQL refuses to run as root, and neither server needs to.
    return {"user": NOBODY.uid, "group": NOBODY.gid, "extra_groups": []} if os.geteuid() == 0 else {}


@contextmanager
def _place() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="lbd-", dir="/tmp"))
    if os.geteuid() == 0:
        os.chown(place, NOBODY.uid, NOBODY.gid)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, cwd="/", check=False, **_identity())
    assert done.returncode == 0, done.stderr


@contextmanager
def _serving(argv: list[str], place: Path, farewell: signal.Signals) -> Iterator[None]:
    with (place / "log").open("w") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", **_identity())
    try:
        yield
    finally:
        process.send_signal(farewell)
        process.wait(30)


def _await(true: Any) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "the server does not come up"
        time.sleep(0.02)


async def _connects(url: str) -> bool:
    try:
        await (await asyncpg.connect(url)).close()
    except (OSError, asyncpg.PostgresError):
        return False
    return True


def _pings(url: str) -> bool:
    with Redis.from_url(url) as redis:
        try:
            return bool(redis.ping())
        except RedisError:
            return False
