"""How many rows a second are sealed, and verified: `python -m tests.bench.bench_seal [--quick]`.

On an embedded engine of its own, with fsync, as the worker does it: a thousand rows and one signed head a transaction.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from leasebox.audit import jobs, service
from leasebox.audit.heads import Signer
from leasebox.audit.logs import AUDIT
from leasebox.audit.verify import Figures, verify
from leasebox.infra import db, migrate
from leasebox.infra.embedded import Engines
from leasebox.values.clock import SystemClock
from leasebox.values.keys import Purpose, derive
from leasebox.values.secret import Secret

QUICK = None
_KEY = derive(Secret("m" * 32), Purpose.AUDIT_HEAD)
_FILL = """
INSERT INTO audit_rows (id, at, tenant_id, actor, action, resource, outcome, request_id, detail)
SELECT gen_random_uuid(), now(), gen_random_uuid(), 'agt_01h455vb4pex5vsknk084sn02q', 'lease.release',
       'lse_01h455vb4pex5vsknk084sn02q', 'done', 'req_01h455vb4pex5vsknk084sn02q', jsonb_build_object('n', n)
FROM generate_series(1, $1::int) AS n
"""
_PROOFS = 200


def rows(count: int = 50_000) -> list[dict[str, Any]]:
    """Sealing, verifying and proving, with `count` rows in the log."""
    with tempfile.TemporaryDirectory() as home:
        engines = Engines(Path(home), wanted=["postgres"])
        url = engines.start().database_url or ""
        try:
            migrate.upgrade(url)
            return asyncio.run(_measure(url, count))
        finally:
            engines.stop()


async def _measure(url: str, count: int) -> list[dict[str, Any]]:
    database = await db.connect(url, at_most=2)
    try:
        await database.transact(lambda tx: tx.run(_FILL, count))
        sealed = await _timed(lambda: _seal(database))
        verified = await _timed(lambda: _verify(database, count))
        proved = await _timed(lambda: _prove(database, count))
    finally:
        await database.close()
    return [
        {"name": "seal", "unit": "rows/s", "median": count / sealed[0], "n": count},
        {"name": "seal, a row", "unit": "µs CPU", "median": sealed[1] / count * 1e6, "n": count},
        {"name": "audit verify", "unit": "rows/s", "median": count / verified[0], "n": count},
        {"name": "audit verify, a row", "unit": "µs CPU", "median": verified[1] / count * 1e6, "n": count},
        {"name": f"prove a row among {count:,}", "unit": "µs", "median": proved[0] / _PROOFS * 1e6, "n": _PROOFS},
    ]


async def _timed(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - wall, time.process_time() - cpu


async def _seal(database: db.Database) -> None:
    while await jobs.seal(database, [AUDIT], _KEY, SystemClock()):
        pass


async def _verify(database: db.Database, count: int) -> None:
    found = await verify(database, AUDIT, [Signer("bench", _KEY).verifier.public], [], lambda done, total: None)
    assert isinstance(found, Figures)
    assert found.leaves == count


async def _prove(database: db.Database, count: int) -> None:
    chosen = await database.read(lambda tx: tx.all("SELECT id FROM audit_rows LIMIT $1", _PROOFS))
    for row in chosen:
        found = await database.read(lambda tx, row=row: service.prove_row(tx, AUDIT, row["id"]))
        assert len(found.proof) <= count.bit_length()


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true")
    for row in rows(20_000 if options.parse_args().quick else 50_000):
        print(f"{row['name']:30} {row['median']:10,.1f} {row['unit']}")
