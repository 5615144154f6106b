"""Lists as the contract gives them: newest first, an opaque cursor that stays stable while rows are added."""

import base64
import binascii
import contextlib
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from leasebox.infra.web.body import FieldFault
from leasebox.values.errors import BadRequest

T = TypeVar("T")
R = TypeVar("R")
Limit = Annotated[int, QueryParameter(ge=1, le=100, description="How many items at most.")]
CursorText = Annotated[
    str | None, QueryParameter(pattern=r"^[A-Za-z0-9_-]{22}$", description="`next_cursor` of the page before.")
]
MomentText = Annotated[
    str | None,
    QueryParameter(max_length=40, description="RFC 3339 time with its offset.", schema_extra={"format": "date-time"}),
]


class Page(msgspec.Struct, Generic[T]):
    """One page of a list. next_cursor: pass it as `cursor` for the following page; null on the last."""

    items: list[T]
    next_cursor: str | None


def after(cursor: str | None) -> uuid.UUID | None:
    """The id that a cursor stands for: the page holds rows with smaller ids. Raises BadRequest."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"==", altchars=b"-_", validate=True)
        return uuid.UUID(bytes=raw)
    except (ValueError, binascii.Error):
        raise BadRequest(
            "The cursor is not one of ours.", fix="Pass next_cursor exactly as the page before gave it."
        ) from None


def moment(text: str | None, name: str) -> datetime | None:
    """A time of a query parameter. Raises BadRequest for anything but RFC 3339 with an offset."""
    if text is None:
        return None
    with contextlib.suppress(msgspec.ValidationError):
        # A `+` that was not escaped arrives as a space.
        found = msgspec.convert(text.replace(" ", "+"), datetime, strict=True)
        if found.tzinfo is not None:
            return in_utc(found, f"query.{name}")
    raise BadRequest(
        f"{name} is no RFC 3339 time with its offset.",
        fix="Write times like 2026-11-20T10:02:24Z.",
        errors=[FieldFault(f"query.{name}", "not an RFC 3339 time with its offset")],
    )


def in_utc(found: datetime, path: str) -> datetime:
    """The same moment in UTC. Raises BadRequest where its offset leads out of the years 1 to 9999."""
    try:
        return found.astimezone(UTC)
    except OverflowError:
        fault = FieldFault(path, "outside the years 1 to 9999 in UTC")
        raise BadRequest(f"{path} is {fault.message}.", fix="Write times in UTC.", errors=[fault]) from None


def page(rows: Sequence[R], limit: int, show: Callable[[R], T], key: Callable[[R], uuid.UUID]) -> Page[T]:
    """A page from up to `limit + 1` rows: the extra row only says that more follow."""
    shown = rows[:limit]
    more = len(rows) > limit
    cursor = base64.urlsafe_b64encode(key(shown[-1]).bytes).rstrip(b"=").decode() if more and shown else None
    return Page([show(row) for row in shown], cursor)
