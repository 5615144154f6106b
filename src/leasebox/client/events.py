"""Following events as they happen: server-sent events (WHATWG HTML §9.2), taken up again where a connection broke."""

import time
from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any

import msgspec

from leasebox.client.errors import ApiError, UnexpectedAnswer, Unreachable
from leasebox.client.model import Event, decode
from leasebox.client.transport import Call, refusal_in
from leasebox.client.verbs import Verbs, present

PATH = "/v2/events"
FIRST = "evt_00000000000000000000000000"
"""Stands before the first event of all."""
_CLOSED = "stream.closed"
# The server says something at least every 15 s.
_SILENCE_S = 45.0
_LONGEST_S = 3600
_REST_S = 1.0


class EventVerbs(Verbs):
    """Following what happens."""

    def events(
        self,
        types: Sequence[str] = (),
        mailbox_ids: Sequence[str] = (),
        *,
        after: str | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[Event]:
        """Events as they happen, each once; without `after` from now on, with it right behind that event.

        A broken connection is taken up again behind the last event, so nothing is missed. Ends after timeout_s seconds;
        None: never. Raises ApiError (a credential or lease that ended), Unreachable when patience is at its end.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        last, failed = after, 0
        while deadline is None or time.monotonic() < deadline:
            heard = False
            try:
                for field in self._stream(types, mailbox_ids, last, deadline):
                    heard, failed = True, 0
                    if isinstance(field, Event):
                        last = field.event_id
                        yield field
                    else:
                        last = field
            except (ApiError, Unreachable) as fault:
                failed += 1
                self._mend(fault, failed)
            else:
                if not heard:
                    self._transport.sleep(_REST_S)

    def _stream(
        self, types: Sequence[str], mailbox_ids: Sequence[str], last: str | None, deadline: float | None
    ) -> Iterator[Event | str]:
        """One connection: its events, and before the first one the place that it begins behind."""
        left = None if deadline is None else max(0, min(_LONGEST_S, ceil(deadline - time.monotonic())))
        query = {"types": tuple(types), "mailbox_id": tuple(mailbox_ids), "timeout_s": left}
        headers = {"accept": "text/event-stream", **({} if last is None else {"last-event-id": last})}
        call = Call(method="GET", path=PATH, query=present(query), headers=headers, answer_within_s=_SILENCE_S)
        with self._transport.lines(call) as lines:
            for fields in _blocks(lines):
                if fields.get("event") == _CLOSED:
                    raise refusal_in(_read(fields["data"], dict[str, Any]))
                if "data" in fields:
                    yield _read(fields["data"], Event)
                elif "id" in fields:
                    yield fields["id"]

    def _mend(self, fault: ApiError | Unreachable, failed: int) -> None:
        """Prepare for another connection. Raises the fault where none would help."""
        if isinstance(fault, ApiError) and fault.status not in {429, 502, 503, 504}:
            remedy = self._transport.remedies.get(fault.status)
            call = Call(method="GET", path=PATH)
            if failed > 1 or remedy is None or remedy(call, fault) is None:
                raise fault
            return
        self._transport.pause(failed, getattr(fault, "retry_after_s", None), fault)


def _blocks(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """The fields of each event; comments and what is cut off at the end are left out."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if fields:
                yield fields
            fields = {}
            continue
        name, _, value = line.partition(":")
        if name:
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value


def _read(text: str, kind: type[Any]) -> Any:
    try:
        return decode(text.encode(), kind)
    except msgspec.DecodeError as fault:
        raise UnexpectedAnswer(
            f"An event is not what was expected: {fault}.", fix="Check that the client is as new as the server."
        ) from None
