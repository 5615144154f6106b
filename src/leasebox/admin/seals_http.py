"""Routes of the seals over the logs: signed heads, proofs for rows, and looking at a whole log again."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from litestar import Controller, get
from litestar.params import FromPath, FromQuery, QueryParameter

from leasebox.admin.door_http import TAGS, admits
from leasebox.admin.errors import LogBroken, LogTooLong
from leasebox.admin.model import Right
from leasebox.audit import service as audit
from leasebox.audit.errors import BrokenLog
from leasebox.audit.heads import Signer, Verifier, unchecked
from leasebox.audit.merkle import MOST_LEAVES
from leasebox.audit.tables import Log
from leasebox.audit.verify import Figures, Wrong, verify
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.routes import known_id
from leasebox.values.errors import RateLimited
from leasebox.values.ids import AuditId
from leasebox.values.keys import DerivedKey

# About ten seconds of work; the command line has no such bound.
_MOST_LEAVES = 100_000
LogName = Literal["audit", "facts", "usage"]
_SIZE_FROM = QueryParameter(name="from", ge=1, le=MOST_LEAVES, description="The older head's size.")
_SIZE_TO = QueryParameter(name="to", ge=1, le=MOST_LEAVES, description="The newer head's size.")


class HeadView(msgspec.Struct):
    """head: a signed note (C2SP tlog-checkpoint), to be kept elsewhere; null before the first seal.

    verifier_key: checks it (C2SP signed-note). size: rows under it.
    """

    log: str
    size: int
    sealed_at: datetime | None
    verifier_key: str
    head: str | None


class HeadsView(msgspec.Struct):
    items: list[HeadView]


class RowProofView(msgspec.Struct):
    """entry: the row's line; its leaf hash is SHA-256 of a zero byte and the line (RFC 6962 §2.1).

    path: hexadecimal audit path from the leaf to the root that the head signs.
    """

    audit_id: str
    entry: str
    leaf: int
    path: list[str]
    head: str


class ExtensionView(msgspec.Struct, rename={"begin": "from", "end": "to"}):
    """That the log of size `to` begins with that of size `from`: both roots stand in heads that you keep.

    path: hexadecimal consistency proof (RFC 6962 §2.1.2), empty for equal sizes; `leasebox audit consistency` checks it
    with --proof.
    """

    log: str
    begin: int
    end: int
    path: list[str]


class WrongView(msgspec.Struct):
    leaf: int | None
    row: str | None
    what: str


class VerifiedView(msgspec.Struct):
    """wrong: the first thing that is not as it was sealed; null when nothing is. The figures are null then."""

    log: str
    intact: bool
    rows: int | None
    leaves: int | None
    heads: int | None
    unsealed: int | None
    root: str | None
    sealed_at: datetime | None
    wrong: WrongView | None


class AdminSealRoutes(Controller):
    """Proof that nobody changed the record."""

    path = "/v2/admin/audit"
    tags = TAGS

    db: Database
    logs: Sequence[Log]
    head_key: DerivedKey
    looking: asyncio.Lock

    @get("/heads", operation_id="admin_audit_heads", **admits(Right.AUDIT))
    async def heads(self) -> HeadsView:
        """The newest signed head of each log. Who keeps one elsewhere can later show that we rewrote the log."""

        async def body(tx: Tx) -> list[HeadView]:
            return [await self._head(tx, log) for log in self.logs]

        return HeadsView(await self.db.read(body))

    @get("/verify", operation_id="admin_verify_log", **admits(Right.AUDIT, 422))
    async def verify(self, log: FromQuery[LogName] = "audit") -> VerifiedView:
        """Look at every sealed row of a log again, one log at a time; logs of up to 100,000 rows."""
        if self.looking.locked():
            raise RateLimited("A log is being looked at already.", retry_after_s=5)
        async with self.looking:
            wanted = self._log(log)
            head = await self.db.read(lambda tx: self._head(tx, wanted))
            if head.size > _MOST_LEAVES:
                raise LogTooLong(f"The log has {head.size} rows.")
            found = await verify(self.db, wanted, [self._public()], [], lambda _, __: None)
        return _verified(found)

    @get("/consistency", operation_id="admin_prove_log_extension", **admits(Right.AUDIT, 409))
    async def consistency(
        self, begin: Annotated[int, _SIZE_FROM], end: Annotated[int, _SIZE_TO], log: FromQuery[LogName] = "audit"
    ) -> ExtensionView:
        """That between two signed heads a log was only added to. Sizes that it never had are 400."""
        try:
            path = await self.db.read(lambda tx: audit.prove_extension(tx, self._log(log), begin, end))
        except BrokenLog:
            raise LogBroken(f"Leaves of the log {log} are missing.") from None
        return ExtensionView(log, begin, end, [each.hex() for each in path])

    @get("/{audit_id:str}/proof", operation_id="admin_prove_audit_row", **admits(Right.AUDIT, 404, 409))
    async def proof(self, audit_id: FromPath[str]) -> RowProofView:
        """That a row stands under the newest signed head."""
        wanted = known_id(AuditId, audit_id)
        try:
            found = await self.db.read(lambda tx: audit.prove_row(tx, self._log("audit"), wanted))
        except BrokenLog:
            raise LogBroken("Leaves of the audit log are missing.") from None
        return RowProofView(
            audit_id=str(wanted),
            entry=found.entry.decode(),
            leaf=found.leaf,
            path=[each.hex() for each in found.proof],
            head=found.head,
        )

    async def _head(self, tx: Tx, log: Log) -> HeadView:
        note = await audit.newest_head(tx, log)
        head = None if note is None else unchecked(note)
        key = Verifier(await audit.origin(tx, log, self.head_key), self._public())
        return HeadView(log.name, head.size if head else 0, head.sealed_at if head else None, str(key), note)

    def _public(self) -> bytes:
        return Signer("leasebox", self.head_key).verifier.public

    def _log(self, name: str) -> Log:
        return next(log for log in self.logs if log.name == name)


def _verified(found: Figures | Wrong) -> VerifiedView:
    if isinstance(found, Wrong):
        wrong = WrongView(found.leaf, found.row, found.what)
        return VerifiedView(found.log, False, None, None, None, None, None, None, wrong)
    return VerifiedView(
        found.log,
        True,
        found.rows,
        found.leaves,
        found.heads,
        found.unsealed,
        found.root.hex(),
        found.sealed_at,
        None,
    )
