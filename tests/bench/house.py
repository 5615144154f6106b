"""A leasebox at work for a bench: its processes by what they do, and mailboxes of a signed-in agent."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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
"""
_ENGINES = ("postgres", "valkey")


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
    """`leasebox up` on an empty home with generous limits, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="leasebox-bench-") as folder:
        prices = Path(folder) / "prices.toml"
        prices.write_text(_PRICES)
        with (
            up(Path(folder) / "home", LEASEBOX_PRICES=str(prices), **(_SETTINGS | settings)) as instance,
            httpx.Client(base_url=instance.url, timeout=70) as http,
        ):
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
