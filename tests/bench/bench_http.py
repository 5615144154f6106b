"""The API's hot calls on a real instance, beside what their parts can do alone: `python -m tests.bench http [--quick]`.

Roles, engines and peers are processes of their own, fsync is on; rates and allowance are large, but counted as in
production (what the calls cost without rates is told, too). The client is a process of its own, and what it signs it
has signed before. Rounds alternate between all of them.
"""

import asyncio
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg

from leasebox.infra.embedded import attach
from tests.bench import http_cpu, http_peers
from tests.bench.figures import Row, absent, ratio, row
from tests.bench.http_load import Client, client, request
from tests.bench.http_peers import PgBench
from tests.bench.http_work import Bench, Cost
from tests.instance import Instance, up

QUICK = {"rounds": 1, "calls": 128}
IN_FLIGHT = http_peers.CLIENTS
_LEAST = 30  # transactions of a pgbench client
_ALONE = 5  # of so many calls one is made by itself, for its latency
_RATES = {f"LEASEBOX_{name}_RATE": "100000000/min" for name in ("API", "SIGNIN", "TENANT", "SMTP")}
_RATES_OFF = dict.fromkeys(_RATES, "0")
_FREE = """
[meters]
"mailbox.lease" = {free = 2000000000, window = "day", price = "0.001"}
"message.read" = {free = 2000000000, window = "day", price = "0.001"}
"""
_CHARGE = """
INSERT INTO price_versions (meter, version, free_units, span, unit_price_micros, digest, made_by, since)
SELECT meter, max(version) + 1, {free}, 'day', 1000, '\\x00', 'bench', now() FROM price_versions
WHERE meter = 'mailbox.lease' GROUP BY meter
"""
_CREDIT = "UPDATE tenant_funds SET credit_limit_micros = 1000000000000"
_NAMES = {
    "challenge": "http: sign-in, challenge",
    "verify": "http: sign-in, verify",
    "lease": "http: lease",
    "release": "http: release",
    "list": "http: list of 20",
    "proof": "http: payment proof",
    "paid": "http: lease with its proof",
    "litestar GET": "peer: bare Litestar on granian, GET",
    "litestar POST": "peer: bare Litestar on granian, POST",
    "node GET": "peer: Node http, GET",
    "node POST": "peer: Node http, POST",
}
_ALL = ("http", "postgres", "valkey")
_GOALS = {"lease": 250.0, "release": 250.0, "list": 250.0}
Found = dict[str, list[Cost]]


def rows(rounds: int = 4, calls: int = 1_200) -> list[Row]:
    """Of each call latency alone, calls a second at 16 in flight, and CPU of the HTTP process and of PostgreSQL."""
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="leasebox-bench-")))
        (folder / "prices.toml").write_text(_FREE)
        instance, bench = open_.enter_context(_opened(folder, _RATES))
        peers = {
            name: (open_.enter_context(client("127.0.0.1", found[0])), found[1])
            for name, found in (
                ("litestar", open_.enter_context(http_peers.bare_litestar())),
                ("node", open_.enter_context(http_peers.node())),
            )
            if found is not None
        }
        pgbench = PgBench(instance.home, bench, folder, max(_LEAST, calls // IN_FLIGHT)) if PgBench.program() else None
        single: Found = {}
        many: Found = {}
        databases: dict[str, list[float]] = {"lease": [], "release": []}
        for _ in range(rounds + 1):
            _round(bench, single, 1, calls // _ALONE, instance.home)
            _round(bench, many, IN_FLIGHT, calls, instance.home)
            for name, (peer, pid) in peers.items():
                _ask_peer(name, peer, pid, single, 1, calls // _ALONE)
                _ask_peer(name, peer, pid, many, IN_FLIGHT, calls)
            if pgbench is not None:
                databases["lease"].append(pgbench.lease())
                databases["release"].append(pgbench.release())
        off = _without_rates(folder, calls) if rounds > 1 else []
    return [*_told(single, many), *_told_of_database(databases), *off]


@contextmanager
def _opened(folder: Path, rates: Mapping[str, str]) -> Iterator[tuple[Instance, Bench]]:
    """An instance with these rates, and a tenant with mail in it."""
    settings = {**rates, "LEASEBOX_PRICES": str(folder / "prices.toml")}
    home = Path(tempfile.mkdtemp(dir=folder)) / "home"
    with up(home, **settings) as instance:
        host, _, port = instance.url.removeprefix("http://").partition(":")
        with client(host, int(port)) as sender:
            bench = Bench(instance, sender)
            bench.fill(instance)
            yield instance, bench


def _without_rates(folder: Path, calls: int) -> list[Row]:
    """What rate limits cost is the difference to the rows of the same name."""
    found: Found = {}
    with _opened(folder, _RATES_OFF) as (_, bench):
        for _ in range(3):
            for name, requests, status in (("list", bench.lists(calls), 200), ("lease", bench.leases(calls), 201)):
                found.setdefault(name, []).append(bench.run(requests, IN_FLIGHT, status))
    return [
        row(f"{_NAMES[name]}, rates off, HTTP process", "µs CPU", _micros(costs[1:], "http"))
        for name, costs in found.items()
    ]


def ratios(found: list[Row]) -> list[Row]:
    """What HTTP leaves of what the database can do, and what paying costs."""
    wanted = [
        ratio(
            f"http: {name}, calls a second of pgbench's running the same statement",
            found,
            f"http: {name}, 16 in flight",
            f"peer: pgbench, {name}, 16 clients",
            0.55,
        )
        for name in ("lease", "release")
    ]
    return [*wanted, ratio("http: CPU of two leases over a proof and its lease", found, _TWO, _PAYING, 1.0)]


def versions() -> dict[str, str]:
    """Of the peers."""
    node = http_peers.node_version()
    return {} if node is None else {"node": node}


def _round(bench: Bench, found: Found, in_flight: int, count: int, home: Path) -> None:
    """Each call in its turn, on what the one before made."""

    def run(name: str, requests: list[bytes], status: int) -> list[bytes]:
        cost = bench.run(requests, in_flight, status)
        found.setdefault(name, []).append(cost._replace(bodies=[]))
        return cost.bodies

    run("verify", bench.verifications(run("challenge", bench.challenges(count), 200)), 200)
    run("release", bench.releases(run("lease", bench.leases(count), 201)), 202)
    run("list", bench.lists(count), 200)
    asyncio.run(_price(home, 0))
    proofs = [json.loads(body)["x_payment_proof"] for body in run("proof", bench.proofs(count), 200)]
    run("paid", bench.leases(count, proofs), 201)
    asyncio.run(_price(home, 2_000_000_000))


def _ask_peer(name: str, peer: Client, pid: int, found: Found, in_flight: int, count: int) -> None:
    body = {"agent_id": "agt_01h455vb4pex5vsknk084sn02q", "purpose": "bench", "ttl_hours": 1}
    for method, asked in (("GET", request("GET", "/")), ("POST", request("POST", "/", body=body))):
        before = http_cpu.seconds([pid])
        done = peer.send([asked] * count, in_flight, 200)
        cpu = http_cpu.spent(before, http_cpu.seconds([pid])) / count
        found.setdefault(f"{name} {method}", []).append(Cost(done.seconds, count / done.span_s, cpu, 0.0, []))


async def _price(home: Path, free: int) -> None:
    """Put a free allowance of leases in force; the bench's tenant may owe what it likes."""
    urls = attach(home)
    assert urls is not None
    connection = await asyncpg.connect(urls.database_url)
    await connection.execute(_CHARGE.format(free=free))
    await connection.execute(
        "INSERT INTO tenant_funds (tenant_id, balance_micros, held_micros, receivable_micros) "
        "SELECT id, 0, 0, 0 FROM tenants ON CONFLICT DO NOTHING"
    )
    await connection.execute(_CREDIT)
    await connection.close()


_TWO, _PAYING = "http: two leases, HTTP process", "http: a proof and the lease it pays, HTTP process"


def _told(single: Found, many: Found) -> Iterator[Row]:
    for name, said in _NAMES.items():
        if name not in many:
            yield absent(said, "ms", "there is no node in PATH")
            continue
        # The first round warms everything up.
        alone, crowd = single[name][1:], many[name][1:]
        calls = sum(len(cost.seconds) for cost in crowd)
        yield row(f"{said}, one at a time", "ms", [second * 1000 for cost in alone for second in cost.seconds])
        yield row(
            f"{said}, 16 in flight",
            "calls/s",
            [cost.rate for cost in crowd],
            n=calls,
            cpu_us=_median([cost.http for cost in crowd]),
        )
        if not said.startswith("peer: "):
            yield row(f"{said}, HTTP process", "µs CPU", _micros(crowd, "http"), n=calls, goal=_GOALS.get(name))
            yield row(f"{said}, PostgreSQL", "µs CPU", _micros(crowd, "postgres"), n=calls)
    both = "http: sign-in, both calls"
    yield row(f"{both}, HTTP process", "µs CPU", _sums(many, "challenge", "verify"), goal=700.0)
    yield row(f"{both}, with PostgreSQL and Valkey", "µs CPU", _sums(many, "challenge", "verify", _ALL), goal=700.0)
    yield row(_TWO, "µs CPU", _sums(many, "lease", "lease"))
    yield row(_PAYING, "µs CPU", _sums(many, "proof", "paid"))


def _told_of_database(databases: dict[str, list[float]]) -> Iterator[Row]:
    for name, rates in databases.items():
        said = f"peer: pgbench, {name}, 16 clients"
        yield row(said, "calls/s", rates[1:]) if rates else absent(said, "calls/s", "there is no pgbench")


def _micros(costs: list[Cost], whose: str) -> list[float]:
    return [getattr(cost, whose) * 1_000_000 for cost in costs]


def _sums(found: Found, one: str, other: str, whose: Sequence[str] = ("http",)) -> list[float]:
    """µs of two calls together, round by round, in these processes."""
    pairs = zip(found[one][1:], found[other][1:], strict=True)
    return [1e6 * sum(getattr(cost, each) for cost in pair for each in whose) for pair in pairs]


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] * 1_000_000
