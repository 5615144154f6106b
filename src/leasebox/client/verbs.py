"""What all verbs of the client share: reading, writing, going through pages."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from leasebox.client.model import Page
from leasebox.client.transport import Call, Transport

T = TypeVar("T")
Word = str | int | tuple[str, ...]


class Verbs:
    """Verbs against one server."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _pages(self, path: str, query: Mapping[str, Word | None], kind: type[Page[T]]) -> Iterator[T]:
        asked = present(query)
        while True:
            page = self._get(path, kind, asked)
            yield from page.items
            if page.next_cursor is None:
                return
            asked = {**asked, "cursor": page.next_cursor}

    def _get(self, path: str, kind: type[T], query: Mapping[str, Word] | None = None) -> T:
        return self._transport.ask(Call(method="GET", path=path, query=query or {}), kind)

    def _post(self, path: str, kind: type[T], body: Mapping[str, Any] | None = None) -> T:
        return self._transport.ask(Call(method="POST", path=path, body=body), kind)


def present(query: Mapping[str, Word | None]) -> dict[str, Word]:
    """A query without what is not given."""
    return {name: value for name, value in query.items() if value not in (None, ())}


def message_path(message_id: str, rest: str = "") -> str:
    """The path of a message, or of something below it."""
    return f"/v2/messages/{quote(message_id, safe='')}{rest}"
