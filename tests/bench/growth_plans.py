"""What PostgreSQL looked at for each statement: EXPLAIN (ANALYZE, BUFFERS) beside the run itself."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import asyncpg

from leasebox.infra.db import Tx

_EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) "


class Look(NamedTuple):
    """One statement. buffers: pages of 8 KB, hit or read. rows: what it returned or changed. scanned: tables read
    from end to end, with the rows they had. ms: without its triggers. triggers: ms of those."""

    sql: str
    ms: float
    buffers: int
    rows: int
    looked_at: int
    scanned: dict[str, int]
    triggers: float


class Watched(Tx):
    """A transaction that notes how each of its statements was done; each is done twice, the first time undone."""

    __slots__ = ("looks",)

    def __init__(self, connection: asyncpg.Connection) -> None:
        super().__init__(connection)
        self.looks: list[Look] = []

    async def all(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        await self._look(sql, *values)
        return await super().all(sql, *values)

    async def one(self, sql: str, *values: Any) -> asyncpg.Record | None:
        await self._look(sql, *values)
        return await super().one(sql, *values)

    async def value(self, sql: str, *values: Any) -> Any:
        await self._look(sql, *values)
        return await super().value(sql, *values)

    async def run(self, sql: str, *values: Any) -> int:
        await self._look(sql, *values)
        return await super().run(sql, *values)

    async def _look(self, sql: str, *values: Any) -> None:
        await self._connection.execute("SAVEPOINT looking")
        try:
            told = await self._connection.fetchval(_EXPLAIN + sql, *values)
        finally:
            await self._connection.execute("ROLLBACK TO SAVEPOINT looking")
        self.looks.append(_read(sql, json.loads(told)[0] if isinstance(told, str) else told[0]))


def _read(sql: str, told: dict[str, Any]) -> Look:
    plan = told["Plan"]
    nodes = list(_nodes(plan))
    scanned = {
        node["Relation Name"]: int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in nodes
        if node["Node Type"] == "Seq Scan"
    }
    looked_at = sum(
        int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in nodes
        if "Relation Name" in node and "Scan" in node["Node Type"]
    )
    return Look(
        " ".join(sql.split()),
        told["Execution Time"],
        plan.get("Shared Hit Blocks", 0) + plan.get("Shared Read Blocks", 0),
        int(plan["Actual Rows"]),
        looked_at,
        scanned,
        sum(each.get("Time", 0.0) for each in told.get("Triggers", ())) if told.get("Triggers") else 0.0,
    )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)
