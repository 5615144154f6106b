"""The audit log's tables, and what a sealed log is. Its rows are added only: no right to more, and triggers besides."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import BigInteger, Column, DateTime, Index, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from leasebox.infra.db import metadata
from leasebox.infra.facts_log import Xid8, facts
from leasebox.values.ids import Id

audit_rows = Table(
    "audit_rows",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("tenant_id", UUID),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
    Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    Index(None, "tenant_id", "id"),
    Index(None, "xid", "id"),
)

Index(None, facts.c.xid, facts.c.id)

# Leaf numbers stand here, not in the rows that they belong to: those are never touched again.
# nodes: the perfect nodes that this leaf completes, 32 bytes each, the leaf's own hash first, then upwards.
seal_leaves = Table(
    "seal_leaves",
    metadata,
    Column("log", Text, primary_key=True),
    Column("leaf", BigInteger, primary_key=True, autoincrement=False),
    Column("row_id", UUID, nullable=False),
    Column("nodes", LargeBinary, nullable=False),
    Index(None, "log", "row_id", unique=True),
)

# note: the signed head with its size, root and time, and the digest of the head before it.
seal_heads = Table(
    "seal_heads",
    metadata,
    Column("log", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
)


class Row(Protocol):
    """A row's columns by name."""

    def __getitem__(self, name: str, /) -> Any: ...


@dataclass(frozen=True)
class Log:
    """An append-only table that is sealed.

    name: as in heads and commands. table: has `id` (UUID) and `xid` (xid8, default pg_current_xact_id(), indexed with
    the id). ids: how its rows are called outside. entry: the bytes of a row that its leaf is the hash of; it gets the
    columns by name, JSONB as the database's own text.
    """

    name: str
    table: Table
    ids: type[Id]
    entry: Callable[[Row], bytes]
