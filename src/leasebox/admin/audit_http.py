"""Routes of the audit log: search and export."""

from collections.abc import AsyncIterator
from datetime import datetime
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
ExportFormat = Literal["jsonl", "csv"]
_MEDIA = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
Actor = Annotated[
    str | None, QueryParameter(max_length=200, description="agt_…, key_…, wallet:0x… (an admin, lower case) or job:….")
]
Action = Annotated[str | None, QueryParameter(max_length=100, description="Such as lease.freeze.")]
Resource = Annotated[str | None, QueryParameter(max_length=320, description="An id, a domain, a meter or a rate.")]
Outcome = Annotated[str | None, QueryParameter(max_length=100, description="done, or refused.")]


_DECLARED = admits(Right.AUDIT, 404)
_TEXT = ResponseSpec(
    bytes, generate_examples=False, description="JSON lines or CSV, a row a line", media_type="application/x-ndjson"
)
_STREAMED = _DECLARED | {"responses": _DECLARED["responses"] | {200: _TEXT}}


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

    @get("/export", operation_id="admin_export_audit", **_STREAMED)
    async def export(
        self,
        format: FromQuery[ExportFormat] = "jsonl",
        actor: Actor = None,
        action: Action = None,
        resource: Resource = None,
        tenant_id: FromQuery[str | None] = None,
        outcome: Outcome = None,
        since: MomentText = None,
        until: MomentText = None,
    ) -> Stream:
        """All audit rows that fit, newest first, as JSON lines or CSV, up to now."""
        end = until or self.clock.now().isoformat()
        wanted = _filter(actor, action, resource, tenant_id, outcome, since, end)
        return Stream(
            self._lines(wanted, format),
            media_type=_MEDIA[format],
            headers={"content-disposition": f'attachment; filename="audit.{format}"', "cache-control": "no-store"},
        )

    async def _lines(self, wanted: AuditFilter, format_: ExportFormat) -> AsyncIterator[bytes]:
        """A batch at a time: no more is held, however long the log."""
        if format_ == "csv":
            yield csv_header(AuditRowView)
        write, below = (csv_line if format_ == "csv" else json_line), None
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
