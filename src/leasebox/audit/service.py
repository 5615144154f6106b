"""Write down every act that changes rights, money, settings or a mailbox's life, in the act's own transaction.

And prove it afterwards: that a row stands in a sealed log, that a log still begins with what an older head vouched for.
"""

from collections.abc import Callable
from uuid import UUID

import msgspec

from leasebox.audit import merkle, seal, seal_store, store
from leasebox.audit.errors import BrokenLog, NoSuchSize, NotSealed
from leasebox.audit.merkle import NodeAt, Proof
from leasebox.audit.model import Act
from leasebox.audit.tables import Log
from leasebox.infra.db import Tx
from leasebox.values.keys import DerivedKey


class RowProof(msgspec.Struct, frozen=True):
    """A row's line, its leaf number, the signed head, and the audit path between; merkle.verify_inclusion checks it."""

    entry: bytes
    leaf: int
    head: str
    proof: Proof


async def record(tx: Tx, act: Act) -> None:
    """Add one row to the audit log. It commits or vanishes together with what it tells."""
    await store.insert(tx, act)


async def prove_row(tx: Tx, log: Log, row_id: UUID) -> RowProof:
    """That a row stands under the newest head (RFC 6962 §2.1.1), by about log2(size) reads.

    Raises NotSealed, and BrokenLog where leaves are missing. What it says is checked by whoever receives it.
    """
    head = (await seal_store.ends(tx, log)).head
    leaf, row = await seal_store.leaf_of(tx, log, row_id), await seal_store.row(tx, log, row_id)
    if head is None or leaf is None or row is None or leaf >= head.size:
        raise NotSealed(f"No sealed row of the log {log.name} has this id.")
    proof = await _prove(tx, log, lambda node_at: merkle.prove_inclusion(node_at, leaf, head.size))
    return RowProof(log.entry(row), leaf, head.note, proof)


async def prove_extension(tx: Tx, log: Log, old: int, new: int) -> Proof:
    """That the log of size `new` begins with that of size `old` (RFC 6962 §2.1.2); heads.extends checks it.

    Raises NoSuchSize unless 1 <= old <= new <= the newest head's size, and BrokenLog where leaves are missing.
    """
    head = (await seal_store.ends(tx, log)).head
    if not 1 <= old <= new <= (head.size if head else 0):
        raise NoSuchSize(f"The log {log.name} has not grown from {old} to {new}.", size=head.size if head else 0)
    return await _prove(tx, log, lambda node_at: merkle.prove_consistency(node_at, old, new))


async def sealed_entries(tx: Tx, log: Log, begin: int, limit: int) -> list[tuple[int, bytes]]:
    """The next leaf numbers from `begin` on, each with its row's line (entries.py); fewer than `limit` at the end.

    Raises BrokenLog where a leaf or its row is missing, so that line n of an export is leaf n.
    """
    head = (await seal_store.ends(tx, log)).head
    end = min(begin + limit, head.size if head else 0)
    found = [(leaf.number, row) for leaf, row in await seal_store.sealed(tx, log, begin, end)]
    lines = [(number, log.entry(row)) for number, row in found if row is not None]
    if [number for number, _ in lines] != list(range(begin, end)):
        raise BrokenLog(f"rows of {log.name} between leaf {begin} and {end} are missing: see leasebox audit verify")
    return lines


async def newest_head(tx: Tx, log: Log) -> str | None:
    """The newest signed head, to be kept by somebody else; None before the first seal."""
    head = (await seal_store.ends(tx, log)).head
    return head.note if head else None


async def origin(tx: Tx, log: Log, key: DerivedKey) -> str:
    """The name that a log's heads are signed under (C2SP tlog-checkpoint), given the key that would sign the first."""
    return seal.origin(log, key, (await seal_store.ends(tx, log)).head)


async def _prove(tx: Tx, log: Log, prover: Callable[[NodeAt], Proof]) -> Proof:
    """Let the prover say which nodes it needs, fetch these in one go, then let it prove."""
    wanted: list[tuple[int, int]] = []

    def ask(level: int, index: int) -> bytes:
        wanted.append((level, index))
        return merkle.EMPTY_ROOT

    prover(ask)
    found = await seal_store.nodes(tx, log, wanted)
    if len(found) < len(set(wanted)):
        raise BrokenLog(f"leaves of {log.name} are missing: see leasebox audit verify")
    return prover(lambda level, index: found[level, index])
