"""Routes of the audit log: search and export."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from asyncpg import Record
from litestar import Controller, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream

from leasebox.admin import views_store
from leasebox.admin.door_http import TAGS, admits
from leasebox.admin.export import csv_header, csv_line, json_line
from leasebox.admin.model import Right
from leasebox.admin.views_store import AuditFilter
from leasebox.infra.db import Database
from leasebox.infra.web.listing import CursorText, Limit, MomentText, Page, after, moment, page
from leasebox.infra.web.routes import known_id
from leasebox.values.clock import Clock
from leasebox.values.ids import AuditId, TenantId, lowest_id

_BATCH = 1_000
ExportForm = Literal["jsonl", "csv"]
_MEDIA = {"jsonl": "application/x-ndjson", "csv": "text/csv"}
_A_MOMENT = timedelta(milliseconds=1)  # so that rows of this very millisecond are in it
_WORD = r"^[!-~]{1,320}$"  # what stands in these columns is visible ASCII
Actor = Annotated[
    str | None,
    QueryParameter(pattern=_WORD, description="agt_…, key_…, wallet:0x… (an admin, lower case) or job:…."),
]
Action = Annotated[str | None, QueryParameter(pattern=_WORD, description="Such as lease.freeze.")]
Resource = Annotated[str | None, QueryParameter(pattern=_WORD, description="An id, a domain, a meter or a rate.")]
Outcome = Annotated[str | None, QueryParameter(pattern=_WORD, description="done, or refused.")]


def _streamed(media_type: str) -> dict[str, Any]:
    declared = admits(Right.AUDIT, 404)
    text = ResponseSpec(bytes, generate_examples=False, description="A row a line.", media_type=media_type)
    return declared | {"responses": declared["responses"] | {200: text}, "media_type": media_type}


class AuditRowView(msgspec.Struct):
    """Who did what to which thing. detail: before and after, amounts, the reason given."""

    audit_id: str
    at: datetime
    actor: str
    action: str
    resource: str
    tenant_id: str | None
    outcome: str
    request_id: str
    detail: dict[str, Any]


class AdminAuditRoutes(Controller):
    """Who did what, and proof that nobody changed the record of it."""

    path = "/v2/admin/audit"
    tags = TAGS

    db: Database
    clock: Clock

    @get("/", operation_id="admin_search_audit", **admits(Right.AUDIT, 404))
    async def search(
        self,
        actor: Actor = None,
        action: Action = None,
        resource: Resource = None,
        tenant_id: FromQuery[str | None] = None,
        outcome: Outcome = None,
        since: MomentText = None,
        until: MomentText = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[AuditRowView]:
        """Audit rows, newest first."""
        wanted, below = _filter(actor, action, resource, tenant_id, outcome, since, until), after(cursor)
        rows = await self.db.read(lambda tx: views_store.audit_rows(tx, wanted, below, limit + 1))
        return page(rows, limit, _view, lambda row: row["id"])

    @get("/export.jsonl", operation_id="admin_export_audit", **_streamed("application/x-ndjson"))
    async def export(
        self,
        actor: Actor = None,
        action: Action = None,
        resource: Resource = None,
        tenant_id: FromQuery[str | None] = None,
        outcome: Outcome = None,
        since: MomentText = None,
        until: MomentText = None,
    ) -> Stream:
        """All audit rows that fit, newest first, up to now: a row of JSON a line."""
        wanted = _filter(actor, action, resource, tenant_id, outcome, since, until)
        return self._stream(wanted, "jsonl")

    @get("/export.csv", operation_id="admin_export_audit_csv", **_streamed("text/csv"))
    async def export_csv(
        self,
        actor: Actor = None,
        action: Action = None,
        resource: Resource = None,
        tenant_id: FromQuery[str | None] = None,
        outcome: Outcome = None,
        since: MomentText = None,
        until: MomentText = None,
    ) -> Stream:
        """The same as CSV. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
        wanted = _filter(actor, action, resource, tenant_id, outcome, since, until)
        return self._stream(wanted, "csv")

    def _stream(self, wanted: AuditFilter, form: ExportForm) -> Stream:
        if wanted.before is None:
            wanted = msgspec.structs.replace(wanted, before=lowest_id(self.clock.now() + _A_MOMENT))
        return Stream(
            self._lines(wanted, form),
            media_type=_MEDIA[form],
            headers={"content-disposition": f'attachment; filename="audit.{form}"', "cache-control": "no-store"},
        )

    async def _lines(self, wanted: AuditFilter, form: ExportForm) -> AsyncIterator[bytes]:
        """A batch at a time: no more is held, however long the log."""
        if form == "csv":
            yield csv_header(AuditRowView)
        write, below = (csv_line if form == "csv" else json_line), None
        while rows := await self._batch(wanted, below):
            below = rows[-1]["id"]
            yield b"".join(write(_view(row)) for row in rows)

    async def _batch(self, wanted: AuditFilter, below: object) -> list[Record]:
        return list(await self.db.read(lambda tx: views_store.audit_rows(tx, wanted, below, _BATCH)))


def _filter(
    actor: str | None,
    action: str | None,
    resource: str | None,
    tenant_id: str | None,
    outcome: str | None,
    since: str | None,
    until: str | None,
) -> AuditFilter:
    start, end = moment(since, "since"), moment(until, "until")
    return AuditFilter(
        actor,
        action,
        resource,
        None if tenant_id is None else known_id(TenantId, tenant_id),
        outcome,
        None if start is None else lowest_id(start),
        None if end is None else lowest_id(end),
    )


def _view(row: Record) -> AuditRowView:
    return AuditRowView(
        audit_id=str(AuditId.of(row["id"])),
        at=row["at"],
        actor=row["actor"],
        action=row["action"],
        resource=row["resource"],
        tenant_id=None if row["tenant_id"] is None else str(TenantId.of(row["tenant_id"])),
        outcome=row["outcome"],
        request_id=row["request_id"],
        detail=row["detail"],
    )
