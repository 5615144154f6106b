"""Valkey/Redis: single-use values, rate buckets and wake-ups. Flushing it may cost a retry, never a cent nor a mail."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoScriptError, RedisError, ResponseError

from leasebox.infra import log
from leasebox.infra.db import Wake
from leasebox.infra.together import Together
from leasebox.values.clock import Clock
from leasebox.values.errors import Unavailable
from leasebox.values.rate import Rate

_WAKE = "leasebox:wake:"
_SILENT = "Redis does not answer."
_IN_VAIN_S = 0.5
_LEFT_ALONE_S = 1.0
# GCRA: one number per key, the time at which the bucket would be full again. Keys are one hash slot each (Cluster).
_BUCKET = """
local now, period, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local step = period / count
local full = tonumber(redis.call('GET', KEYS[1]) or '0')
if full < now then full = now end
local after = full + step
if after - period > now + 0.5 then
  return {0, 0, math.ceil(after - period - now), math.ceil(full - now)}
end
redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', math.ceil(after - now) + 1)
return {1, math.floor((period - (after - now)) / step + 0.001), 0, math.ceil(after - now)}
"""

# As many tokens of the same bucket as it has, up to so many.
_SOME = """
local now, period, count, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local step = period / count
local full = tonumber(redis.call('GET', KEYS[1]) or '0')
if full < now then full = now end
local granted = math.min(wanted, math.floor((now + 0.5 + period - full) / step))
if granted < 1 then return 0 end
local after = full + granted * step
redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', math.ceil(after - now) + 1)
return granted
"""


_Command: TypeAlias = tuple[str | bytes | int, ...]


class Taken(msgspec.Struct, frozen=True):
    """What a bucket answered. remaining: calls left now; retry_after_s, reset_s: seconds, rounded up."""

    allowed: bool
    remaining: int
    retry_after_s: int
    reset_s: int


class Cache:
    """One process's connections to Redis. What is asked while a question is under way goes out together after it."""

    def __init__(self, redis: Any, listener: Any, clock: Clock) -> None:
        self._redis = redis
        self._listener = listener
        self._clock = clock
        self._bucket = redis.register_script(_BUCKET)
        self._some = redis.register_script(_SOME)
        self._questions: Together[_Command, Any] = Together(self._answer)
        self._hung_until = 0.0
        self._unsaid: dict[Wake, None] = {}
        self._saying: asyncio.Future[None] | None = None

    async def put(self, key: str, value: bytes, ttl_s: int) -> None:
        """Keep `value` for `ttl_s` seconds. Raises Unavailable."""
        await self._ask("SET", key, value, "EX", ttl_s)

    async def take(self, key: str) -> bytes | None:
        """Give the value and forget it in one step: of any number of callers only one gets it. Raises Unavailable."""
        value: bytes | None = await self._ask("GETDEL", key)
        return value

    async def draw(self, key: str, rate: Rate) -> Taken:
        """Take one token from the bucket `key`. A Redis that does not answer lets everything through."""
        if not rate.count:
            return Taken(True, 0, 0, 0)
        now = self._clock.now().timestamp() * 1000
        try:
            allowed, remaining, wait_ms, reset_ms = await self._run(
                self._bucket, f"bucket:{{{key}}}", f"{now:.3f}", rate.seconds * 1000, rate.count
            )
        except Unavailable:
            log.get("cache").warning("rate bucket unavailable, letting the call through", bucket=key.partition(":")[0])
            return Taken(True, rate.count, 0, 0)
        return Taken(bool(allowed), int(remaining), -(-int(wait_ms) // 1000), -(-int(reset_ms) // 1000))

    async def draw_some(self, key: str, rate: Rate, wanted: int) -> int:
        """Take up to `wanted` tokens from the bucket `key`, as so many calls of `draw` would; how many there were."""
        if not rate.count:
            return wanted
        now = self._clock.now().timestamp() * 1000
        try:
            granted = await self._run(
                self._some, f"bucket:{{{key}}}", f"{now:.3f}", rate.seconds * 1000, rate.count, wanted
            )
        except Unavailable:
            log.get("cache").warning("rate bucket unavailable, letting the call through", bucket=key.partition(":")[0])
            return wanted
        return int(granted)

    async def publish(self, wakes: Sequence[Wake]) -> None:
        """Tell listeners soon; a failure is only a delay for them, so nobody waits for it.

        What comes while the last words are under way goes out together after them, the same words once.
        """
        self._unsaid.update(dict.fromkeys(wakes))
        if self._saying is None or self._saying.done():
            self._saying = asyncio.ensure_future(self._say())

    async def _say(self) -> None:
        while self._unsaid:
            wakes, self._unsaid = list(self._unsaid), {}
            with contextlib.suppress(Unavailable), self._answering():
                if len(wakes) == 1:
                    await self._redis.publish(_WAKE + wakes[0].channel, wakes[0].payload)
                    continue
                pipe = self._redis.pipeline(transaction=False)
                for wake in wakes:
                    pipe.publish(_WAKE + wake.channel, wake.payload)
                await pipe.execute()

    async def wakes(self, channels: Collection[str] = ()) -> AsyncIterator[Wake]:
        """Every wake-up from now on, for ever; reconnects by itself and yields `Wake("*", "")` after a gap.

        channels: only these, if there are any: each wake-up that is heard takes about 60 µs.
        """
        while True:
            try:
                async with self._listener.pubsub(ignore_subscribe_messages=True) as pubsub:
                    if channels:
                        await pubsub.subscribe(*(_WAKE + each for each in channels))
                    else:
                        await pubsub.psubscribe(_WAKE + "*")
                    yield Wake("*", "")
                    async for note in pubsub.listen():
                        yield Wake(note["channel"].decode().removeprefix(_WAKE), note["data"].decode())
            except (RedisError, OSError):
                await asyncio.sleep(0.2)

    async def ping(self) -> None:
        """Raises Unavailable when Redis does not answer within a second."""
        with _translated():
            async with asyncio.timeout(1):
                await self._redis.ping()

    async def close(self) -> None:
        """Say what is unsaid, then end the connections."""
        if self._saying is not None:
            await self._saying
        await self._redis.aclose()
        await self._listener.aclose()

    async def _run(self, script: Any, key: str, *args: str | int) -> Any:
        try:
            return await self._ask("EVALSHA", script.sha, 1, key, *args)
        except NoScriptError:  # Redis has been started anew, or flushed: now it keeps the script
            return await self._ask("EVAL", script.script, 1, key, *args)

    async def _ask(self, *command: str | bytes | int) -> Any:
        """Raises Unavailable, and NoScriptError."""
        answer = await self._questions.ask(command)
        if isinstance(answer, NoScriptError):
            raise answer
        with _translated():
            if isinstance(answer, Exception):
                raise answer
        return answer

    async def _answer(self, commands: Sequence[_Command]) -> Sequence[Any]:
        """The answers to some commands; what Redis refuses is the answer to that one alone."""
        with self._answering():
            if len(commands) == 1:
                try:
                    return [await self._redis.execute_command(*commands[0])]
                except ResponseError as refusal:
                    return [refusal]
            pipe = self._redis.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)
            answers: Sequence[Any] = await pipe.execute(raise_on_error=False)
            return answers

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """A group of questions. After one that was waited for in vain none is asked for a second: nobody queues up.

        Raises Unavailable.
        """
        began = time.monotonic()
        if began < self._hung_until:
            raise Unavailable(_SILENT, retry_after_s=2)
        try:
            with _translated():
                yield
        except Unavailable:
            if time.monotonic() - began > _IN_VAIN_S:
                self._hung_until = time.monotonic() + _LEFT_ALONE_S
            raise


def connect(url: str, clock: Clock) -> Cache:
    """A cache at `redis://…` or `unix://…`; connects when first used."""
    # One quiet retry covers a connection that died while idle; more would only delay the refusal. What was waited for
    # in vain is not asked again: it may have happened, and a nonce that was taken is not there a second time.
    once_more = Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,))
    redis = Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1, retry=once_more, health_check_interval=0)
    # A listener waits for as long as nothing happens.
    listener = Redis.from_url(url, socket_timeout=None, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0))
    return Cache(redis, listener, clock)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as fault:
        raise Unavailable(_SILENT, retry_after_s=2) from fault
