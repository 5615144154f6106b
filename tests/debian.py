"""Debian's own PostgreSQL 15, Redis, smtp-sink and Postfix, private to a test: what an operator runs beside us."""

import asyncio
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
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
        _end(process, farewell)


def _end(process: "subprocess.Popen[bytes]", farewell: signal.Signals) -> None:
    # A server that does not go (smtp-sink was seen to miss a SIGTERM) is none of what the tests are about.
    process.send_signal(farewell)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


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


class Sink(NamedTuple):
    """Postfix's smtp-sink: takes all mail; each one's envelope and content stand in a file."""

    port: int
    folder: Path

    def mails(self) -> list[tuple[str, tuple[str, ...], bytes]]:
        """Sender, recipients and content of every mail that was taken."""
        return [_dumped(path.read_bytes()) for path in sorted(self.folder.glob("mail.*"))]


@contextmanager
def smtp_sink(*options: str) -> Iterator[Sink]:
    """smtp-sink on a loopback port. options: such as `-q rcpt` (man smtp-sink)."""
    program = shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("Debian's smtp-sink (package postfix) is absent")
    with _place() as place:
        port = ports.claim("127.0.0.1", 0)
        argv = [program, *options, "-c", "-d", str(place / "mail."), f"127.0.0.1:{port}", "256"]
        with _serving(argv, place, signal.SIGKILL):
            _await(lambda: _listens(port))
            yield Sink(port, place)


class Postfix(NamedTuple):
    """A private Postfix that delivers mail for there.example into folders, one a local part."""

    port: int
    folder: Path

    def mails(self, local_part: str) -> list[bytes]:
        """What stands in a mailbox."""
        return [path.read_bytes() for path in sorted((self.folder / "mail" / local_part / "new").glob("*"))]


@contextmanager
def postfix(certificate: Path, key: Path, *users: str) -> Iterator[Postfix]:
    """Postfix on a loopback port, with TLS and mailboxes for these local parts; needs root, as Postfix does."""
    master = Path("/usr/lib/postfix/sbin/master")
    if not master.exists() or os.geteuid() != 0:
        pytest.skip("Debian's Postfix, or the root that it needs, is absent")
    with _place() as place:
        place.chmod(0o755)
        port = ports.claim("127.0.0.1", 0)
        _configure_postfix(place, port, certificate, key, users)
        argv = [str(master), "-c", str(place / "etc"), "-d"]
        with (place / "said").open("w") as said:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd="/")
        try:
            _await(lambda: _listens(port))
            yield Postfix(port, place)
        finally:
            _end(process, signal.SIGTERM)


_MAIN = """
compatibility_level = 3.6
queue_directory = {place}/queue
data_directory = {place}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.there.example
mydestination =
mynetworks = 192.0.2.1/32
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_session_cache_database =
virtual_mailbox_domains = there.example
virtual_mailbox_base = {place}/mail
virtual_mailbox_maps = inline:{{{boxes}}}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
virtual_transport = virtual
default_transport = error:none
alias_maps =
alias_database =
local_recipient_maps =
maillog_file = {place}/log/mail.log
maillog_file_prefixes = {place}
"""
_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
error unix - - n - - error
virtual unix - n n - - virtual
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


def _configure_postfix(place: Path, port: int, certificate: Path, key: Path, users: tuple[str, ...]) -> None:
    mailer = pwd.getpwnam("postfix")
    for name in ("etc", "data", "log", "mail"):
        (place / name).mkdir()
    os.chown(place / "data", mailer.pw_uid, mailer.pw_gid)
    os.chown(place / "mail", NOBODY.uid, NOBODY.gid)
    boxes = ", ".join(f"{{{user}@there.example = {user}/}}" for user in users)
    words = {
        "place": place,
        "certificate": certificate,
        "key": key,
        "boxes": boxes,
        "uid": NOBODY.uid,
        "gid": NOBODY.gid,
    }
    (place / "etc" / "main.cf").write_text(_MAIN.format(**words))
    (place / "etc" / "master.cf").write_text(_MASTER.format(port=port).lstrip())
    os.chown(place, 0, 0)
    (place / "queue").mkdir()
    for name in (
        "active",
        "bounce",
        "corrupt",
        "defer",
        "deferred",
        "flush",
        "hold",
        "incoming",
        "private",
        "saved",
        "trace",
    ):
        (place / "queue" / name).mkdir(mode=0o700)
        os.chown(place / "queue" / name, mailer.pw_uid, 0)
    for name, mode in (("maildrop", 0o730), ("public", 0o710)):
        (place / "queue" / name).mkdir()
        os.chown(place / "queue" / name, mailer.pw_uid, grp.getgrnam("postdrop").gr_gid)
        (place / "queue" / name).chmod(mode)
    (place / "queue" / "pid").mkdir()


def _dumped(raw: bytes) -> tuple[str, tuple[str, ...], bytes]:
    """What smtp-sink writes: its own X- fields, and the mail behind them."""
    sender, recipients, rest = "", [], raw
    while rest.startswith((b"X-Client-", b"X-Helo-", b"X-Mail-", b"X-Rcpt-")):
        line, _, rest = rest.partition(b"\n")
        name, _, said = line.decode().partition(": ")
        address = said.strip().partition(">")[0].strip("<>")
        if name == "X-Mail-Args":
            sender = address
        if name == "X-Rcpt-Args":
            recipients.append(address)
    return sender, tuple(recipients), rest.removesuffix(b"\n")  # it ends each file with an empty line


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
