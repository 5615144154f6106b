"""One subscription to Redis a process, many waiters. A wake-up is a hint: waiters look at the database themselves."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator

from leasebox.infra.cache import Cache
from leasebox.infra.db import Wake

_LAST_WORDS_S = 0.1
DOOR = "door"
"""What no other process says: who listens to it is woken by `Hub.close` alone."""


class Hub:
    """Spreads wake-ups to the waiters of this process. channels: all that it hears; none: whatever there is."""

    def __init__(self, cache: Cache, *channels: str) -> None:
        self._cache = cache
        self._channels = channels
        self._waiters: dict[str, set[asyncio.Event]] = defaultdict(set)
        self.closing = False

    async def run(self) -> None:
        """Listen for ever. After a gap in the subscription everybody is woken, since something may have been missed."""
        async for wake in self._cache.wakes(self._channels):
            self.spread(wake)

    def spread(self, wake: Wake) -> None:
        """Wake those who wait for this."""
        if wake.channel == "*":
            for events in self._waiters.values():
                _set_all(events)
            return
        _set_all(self._waiters.get(_key(wake.channel, wake.payload), ()))

    def close(self) -> None:
        """Wake everybody for good: this process is about to end, so whoever waits should answer now."""
        self.closing = True
        self.spread(Wake("*", ""))

    async def emptied(self, at_most_s: float = 1.0) -> None:
        """Wait after `close` until those who waited have left, and a moment more for their last words to go out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                while self._waiters:  # noqa: ASYNC110 - they leave one by one, and this is the end of the process
                    await asyncio.sleep(0.01)
        await asyncio.sleep(_LAST_WORDS_S)

    @contextlib.contextmanager
    def listening(self, channel: str, payload: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever this is woken. Enter before looking, so that nothing falls in between."""
        assert not self._channels or channel in (*self._channels, DOOR), "nobody would be heard"
        key, event = _key(channel, payload), asyncio.Event()
        self._waiters[key].add(event)
        try:
            yield event
        finally:
            self._waiters[key].discard(event)
            if not self._waiters[key]:
                del self._waiters[key]


async def woken(event: asyncio.Event, at_most_s: float) -> None:
    """Wait for the event or the time, whichever comes first, and clear the event."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(at_most_s):
            await event.wait()
    event.clear()


@contextlib.asynccontextmanager
async def running(hub: Hub) -> AsyncIterator[Hub]:
    """The hub, listening as long as the context lasts."""
    task = asyncio.create_task(hub.run())
    try:
        yield hub
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _key(channel: str, payload: str) -> str:
    return f"{channel} {payload}"


def _set_all(events: "set[asyncio.Event] | tuple[()]") -> None:
    for event in events:
        event.set()
