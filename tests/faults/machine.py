"""The instance under test: `leasebox up` on a disk of its own, with all that can be killed or filled."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import redis.asyncio

from leasebox.infra import ports
from leasebox.infra.embedded import attach
from tests.infra.homes import ROOT, argv, offspring

ROLES = ("http", "smtp", "parser", "worker")
ENGINES = ("postgres", "valkey")
DISK_MIB = 1536
_SERVE = re.compile(r" serve (\w+) ?\Z")
_READY_S = 90.0
_PRICES = """
[meters."mailbox.lease"]
free = 20
window = "hour"
price = "0.001"
[meters."message.read"]
free = 50
window = "day"
price = "0.0001"
[meters."message.send"]
free = 40
window = "day"
price = "0.0002"
"""
_UNLIMITED = ("API_RATE", "SIGNIN_RATE", "TENANT_RATE", "CLAIM_RATE", "SMTP_RATE", "SMTP_CONNECTIONS")


class Machine:
    """One home, its ports, its clock and its disk; `up` may be started on it again and again.

    Root gets a disk of DISK_MIB in memory, which a campaign can fill; anybody else an ordinary directory.
    """

    def __init__(self, place: Path, **settings: str) -> None:
        self.place = place
        self.disk = place / "disk"
        self.disk.mkdir()
        self.has_own_disk = _mount(self.disk)
        self.home = self.disk / "home"
        self.log = place / "up.log"
        self._clock = place / "clock"
        self.step_clock(0)
        (place / "prices.toml").write_text(_PRICES)
        self.http = ("127.0.0.1", ports.claim("127.0.0.1", 0))
        self.smtp = ("127.0.0.1", ports.claim("127.0.0.1", 0))
        self.submission = ("127.0.0.1", ports.claim("127.0.0.1", 0))
        self._settings = settings
        self.process: subprocess.Popen[str] | None = None
        self._peers: list[asyncpg.Connection] = []

    @property
    def url(self) -> str:
        return f"http://{self.http[0]}:{self.http[1]}"

    async def start(self) -> None:
        """`leasebox up`; returns when it has said that it is ready."""
        self.process = self._launched()
        assert self.process.stdout is not None
        async with asyncio.timeout(_READY_S):
            line = await asyncio.to_thread(self.process.stdout.readline)
        assert line.startswith("leasebox ready"), (line, self.log)

    def environ(self) -> dict[str, str]:
        """The environment of every process of this instance."""
        ours = {
            name: text for name, text in os.environ.items() if not name.startswith(("LEASEBOX_", "DATABASE_", "REDIS_"))
        }
        return {
            **ours,
            "FAULTS_CLOCK_FILE": str(self._clock),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests/faults/stepped"), *_inherited_path()]),
            "LEASEBOX_HOME": str(self.home),
            "LEASEBOX_HTTP": f"{self.http[0]}:{self.http[1]}",
            "LEASEBOX_SMTP": f"{self.smtp[0]}:{self.smtp[1]}",
            "LEASEBOX_SUBMISSION": f"{self.submission[0]}:{self.submission[1]}",
            "LEASEBOX_IMAP": "127.0.0.1:0",
            "LEASEBOX_DNS": "off",
            "LEASEBOX_LOG_FORMAT": "json",
            "LEASEBOX_WORKERS": "2",
            "LEASEBOX_PRICES": str(self.place / "prices.toml"),
            "LEASEBOX_CLAIM_CONFIRM": "headless",
            "LEASEBOX_LEASE_QUOTA_MAILS": "1000000",
            "LEASEBOX_LEASE_QUOTA_MIB": "100000",
            **{f"LEASEBOX_{name}": "0" for name in _UNLIMITED},
            **self._settings,
        }

    def roles(self) -> dict[str, list[int]]:
        """The living processes of each role; those of a parser's pool count as the parser's."""
        found: dict[str, list[int]] = {role: [] for role in ROLES}
        for pid in self._children():
            with contextlib.suppress(OSError):
                if match := _SERVE.search(argv(pid)):
                    found.setdefault(match[1], []).append(pid)
        return found

    def family(self, role: str) -> list[int]:
        """The processes of a role and all that they have started."""
        return [pid for leader in self.roles()[role] for pid in (leader, *offspring(leader))]

    def nursery(self) -> int | None:
        """The process from which roles are forked."""
        for pid in self._children():
            with contextlib.suppress(OSError):
                if "leasebox.cli.nursery" in argv(pid):
                    return pid
        return None

    def engine(self, name: str) -> int | None:
        """The process of an engine."""
        for pid in self._children():
            with contextlib.suppress(OSError):
                if name in Path(argv(pid).split(" ", 1)[0]).name:
                    return pid
        return None

    async def database(self) -> asyncpg.Connection:
        """A connection of our own to the instance's database. Raises whatever an outage raises."""
        urls = attach(self.home)
        if urls is None or urls.database_url is None:
            raise ConnectionRefusedError("no engine runs")
        return await asyncpg.connect(urls.database_url, timeout=5)

    async def flush_cache(self) -> None:
        """FLUSHALL."""
        urls = attach(self.home)
        assert urls is not None
        assert urls.redis_url is not None
        client = redis.asyncio.Redis.from_url(urls.redis_url)
        await client.flushall()
        await client.aclose()

    def step_clock(self, seconds: float) -> None:
        """Set how far the instance's clock is ahead of the machine's."""
        fresh = self._clock.with_name("clock.new")
        fresh.write_text(f"{seconds}")
        fresh.rename(self._clock)

    def fill_disk(self) -> Path:
        """Write until the disk is full; the file that takes the room."""
        ballast = self.disk / "ballast"
        handle = os.open(ballast, os.O_WRONLY | os.O_CREAT, 0o600)
        for piece in (1 << 24, 1 << 20, 1 << 16, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    os.write(handle, bytes(piece))
        os.close(handle)
        return ballast

    async def is_ready(self) -> bool:
        """Whether /readyz answers 200 and SMTP greets, each within a second, on connections of their own."""
        try:
            async with asyncio.timeout(2):
                return await self._is_told_ready() and await asyncio.to_thread(self._is_greeted)
        except (OSError, TimeoutError):
            return False

    async def stop(self) -> int:
        """SIGTERM and what it ended with; 30 s to drain."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 40)

    async def fall(self) -> None:
        """SIGKILL the launcher; what it had started may still be on its way down."""
        assert self.process is not None
        self.process.kill()
        await asyncio.to_thread(self.process.wait)

    def remove(self) -> None:
        """Let go of processes and disk."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()
        deadline = time.monotonic() + 20
        while (
            self.has_own_disk
            and subprocess.run(["umount", str(self.disk)], capture_output=True, check=False).returncode
        ):
            if time.monotonic() > deadline:
                subprocess.run(["umount", "-l", str(self.disk)], check=False)
                break
            time.sleep(0.2)
        shutil.rmtree(self.disk, ignore_errors=True)

    def _launched(self) -> "subprocess.Popen[str]":
        with self.log.open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "leasebox", "up"],
                env=self.environ(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.place,
            )

    def _children(self) -> list[int]:
        return offspring(self.process.pid) if self.process is not None else []

    async def _is_told_ready(self) -> bool:
        # By hand: a client of httpx costs 40 ms of CPU before it asks.
        reader, writer = await asyncio.open_connection(*self.http)
        try:
            async with asyncio.timeout(1):
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: faults\r\nConnection: close\r\n\r\n")
                return b" 200 " in await reader.readline()
        finally:
            writer.transport.abort()

    def _is_greeted(self) -> bool:
        with socket.create_connection(self.smtp, timeout=1) as line:
            line.settimeout(1)
            return line.recv(64).startswith(b"220")


def pss_mib(pid: int) -> float:
    """A process's proportional share of memory (proc(5), smaps_rollup)."""
    with contextlib.suppress(OSError, ValueError):
        for line in (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _mount(place: Path) -> bool:
    if os.geteuid() != 0:
        return False
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "leasebox-faults", str(place)],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def _inherited_path() -> list[str]:
    return [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
