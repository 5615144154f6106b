"""One question for many askers: what is asked while the last question is under way goes into the next one.

No waiting window: a lone asker is answered at once, and a crowd pays for one round trip together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Together(Generic[Q, A]):
    """answer: gives an answer to each of some questions, in their order. most: questions that it is asked at once."""

    def __init__(self, answer: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], most: int = 256) -> None:
        self._answer = answer
        self._most = most
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._working: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """The answer to one question, as fresh as if it were asked alone. Raises whatever `answer` raised."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, future))
        if self._working is None:
            # In a context of its own: it works for many, so it must not stand behind the first one's wall.
            self._working = loop.create_task(self._work(), context=Context())
        return await future

    async def _work(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._settle(group)
        finally:
            self._working = None
            for _, future in self._waiting:  # the loop is ending
                future.cancel()

    async def _settle(self, group: list[tuple[Q, "asyncio.Future[A]"]]) -> None:
        try:
            answers = await self._answer([question for question, _ in group])
        except asyncio.CancelledError:
            for _, future in group:
                future.cancel()
            raise
        except Exception as fault:  # noqa: BLE001 - it belongs to those who asked
            for _, future in group:
                if not future.done():
                    future.set_exception(fault)
            return
        for (_, future), answer in zip(group, answers, strict=True):
            if not future.done():  # else its asker has left
                future.set_result(answer)
