"""A leasebox at work for a bench: its processes by what they do, and mailboxes of a signed-in agent."""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from eth_account import Account

from tests.bench import http_cpu
from tests.instance import Instance, up
from tests.kit import sign

# No limit is in a bench's way, but each is counted as in production.
_RATE = "100000000/min"
_SETTINGS = {
    "LEASEBOX_API_RATE": _RATE,
    "LEASEBOX_SMTP_RATE": _RATE,
    "LEASEBOX_SMTP_CONNECTIONS": "1000",
    "LEASEBOX_LEASE_QUOTA_MAILS": "100000000",
    "LEASEBOX_LEASE_QUOTA_MIB": "1000000",
}
_PRICES = """
[meters]
"mailbox.lease" = {free = 1000000, window = "hour", price = "0.001000"}
"message.read" = {free = 100000000, window = "hour", price = "0.001000"}
"webhook.create" = {free = 1000000, window = "hour", price = "0.001000"}
"""
_ENGINES = ("postgres", "valkey")
# Idle is what takes less of a core than this.
_IDLE, _LOOK_S, _PATIENCE_S = 0.1, 0.5, 60.0
_SHARED = {"LEASEBOX_WEBHOOK_ALLOW": "127.0.0.0/8"}
_sharing: list[ExitStack] = []
_instances: list[Instance] = []


class House(NamedTuple):
    """An instance and an agent's session with it."""

    instance: Instance
    http: httpx.Client
    agent_id: str

    def leases(self, count: int) -> list[dict[str, Any]]:
        """New mailboxes."""
        order = {"agent_id": self.agent_id, "purpose": "bench", "ttl_hours": 1}
        answers = [self.http.post("/v2/mailboxes/leases", json=order) for _ in range(count)]
        return [answer.raise_for_status().json() for answer in answers]


@contextmanager
def opened(**settings: str) -> Iterator[House]:
    """`leasebox up` on an empty home with generous limits, until the block ends; or, within `sharing`, a new agent of
    the instance that is there already, once that has nothing left to do."""
    if _sharing and settings.items() <= _SHARED.items():
        instance = _shared_instance(_sharing[-1])
        settle(instance.process.pid)
        with entered(instance) as house:
            yield house
        return
    with _started(settings) as instance, entered(instance) as house:
        yield house


@contextmanager
def sharing() -> Iterator[None]:
    """Until the block ends, those who open an instance get one and the same."""
    with ExitStack() as open_:
        _sharing.append(open_)
        try:
            yield
        finally:
            _sharing.remove(open_)
            _instances.clear()


def _shared_instance(open_: ExitStack) -> Instance:
    if not _instances:
        _instances.append(open_.enter_context(_started(_SHARED)))
    return _instances[0]


@contextmanager
def _started(settings: Mapping[str, str]) -> Iterator[Instance]:
    with (
        tempfile.TemporaryDirectory(prefix="leasebox-bench-") as folder,
        up(Path(folder) / "home", **{**generous(Path(folder)), **settings}) as instance,
    ):
        yield instance


def settle(pid: int) -> None:
    """Wait until parser, worker and PostgreSQL of an instance have nothing left to do, or patience is over."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        meter = Meter(pid).begin()
        time.sleep(_LOOK_S)
        if sum(meter.spent_us(("parser", "worker", "postgres")).values()) < _IDLE * _LOOK_S * 1e6:
            return


def generous(folder: Path) -> dict[str, str]:
    """Settings with limits that are in no bench's way; the prices among them stand in this folder."""
    prices = folder / "prices.toml"
    prices.write_text(_PRICES)
    return {**_SETTINGS, "LEASEBOX_PRICES": str(prices)}


@contextmanager
def entered(instance: Instance) -> Iterator[House]:
    """An agent's session."""
    with httpx.Client(base_url=instance.url, timeout=70) as http:
        wallet = Account.create()
        message = http.post("/v2/auth/siwe/challenge", json={"wallet_address": wallet.address}).json()["message"]
        body = {"message": message, "signature": sign(wallet, message)}
        session = http.post("/v2/auth/siwe/verify", json=body).json()
        http.headers["authorization"] = f"Bearer {session['access_token']}"
        yield House(instance, http, session["agent_id"])


class Meter:
    """CPU of an instance's processes by what they do, from `begin` on; made beforehand, since looking for them takes
    its time."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._pids = by_role(pid)
        self._before: dict[str, dict[int, float]] = {}

    def begin(self) -> "Meter":
        self._before = {name: http_cpu.seconds(pids) for name, pids in self._pids.items()}
        return self

    def spent_us(self, names: Sequence[str]) -> dict[str, float]:
        """µs of some of `by_role`. PostgreSQL processes that came meanwhile count whole."""
        after = {name: http_cpu.seconds(self._pids.get(name, [])) for name in names}
        for name, pids in by_role(self._pid).items() if "postgres" in names else ():
            if name == "postgres":
                after[name] |= http_cpu.seconds([pid for pid in pids if pid not in after[name]])
        return {name: 1e6 * http_cpu.spent(self._before.get(name, {}), after[name]) for name in names}


def by_role(pid: int) -> dict[str, list[int]]:
    """The processes of `leasebox up`: `http`, `smtp`, `parser`, `worker`, `postgres`, `valkey`, and `up` itself."""
    found: dict[str, list[int]] = {}
    for each in family(pid):
        words = http_cpu.argv(each)
        name = words[words.index("serve") + 1] if "serve" in words else "up"
        name = next((engine for engine in _ENGINES if engine in words[0].partition(" ")[0]), name) if words else "up"
        found.setdefault(name, []).append(each)
    return found


def family(pid: int) -> list[int]:
    """A process and everything under it, by one look at /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                above = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(above, []).append(int(entry.name))
    found, front = [], [pid]
    while front:
        found.append(front.pop())
        front.extend(children.get(found[-1], []))
    return found
