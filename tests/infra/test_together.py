"""One question for many askers: grouping, freshness, faults, askers who leave."""

import asyncio
from collections.abc import Sequence

import pytest

from leasebox.infra.together import Together


class Oracle:
    """Doubles numbers, one group at a time, once it is let."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.let = asyncio.Event()
        self.let.set()

    async def answer(self, questions: Sequence[int]) -> list[int]:
        self.groups.append(list(questions))
        await self.let.wait()
        if 13 in questions:
            raise LookupError("thirteen")
        return [2 * each for each in questions]


async def test_a_lone_question_is_asked_at_once() -> None:
    oracle = Oracle()
    together = Together(oracle.answer)
    assert [await together.ask(1), await together.ask(2)] == [2, 4]
    assert oracle.groups == [[1], [2]]


async def test_what_comes_while_a_question_is_under_way_is_asked_together_after_it() -> None:
    oracle = Oracle()
    oracle.let.clear()
    together = Together(oracle.answer, most=3)
    first = asyncio.create_task(together.ask(1))
    await asyncio.sleep(0.01)
    later = [asyncio.create_task(together.ask(number)) for number in (2, 3, 2, 5)]
    await asyncio.sleep(0.01)
    assert oracle.groups == [[1]]  # an answer under way is none to a question that came after it was asked
    oracle.let.set()
    assert await asyncio.gather(first, *later) == [2, 4, 6, 4, 10]
    assert oracle.groups == [[1], [2, 3, 2], [5]]


async def test_a_fault_is_told_to_its_group_alone() -> None:
    oracle = Oracle()
    oracle.let.clear()
    together = Together(oracle.answer, most=2)
    asked = [asyncio.create_task(together.ask(number)) for number in (13, 2, 3)]
    await asyncio.sleep(0.01)
    oracle.let.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in answers] == [LookupError, LookupError, int]
    assert await together.ask(4) == 8


async def test_an_asker_who_leaves_costs_the_others_nothing() -> None:
    oracle = Oracle()
    oracle.let.clear()
    together = Together(oracle.answer)
    staying, leaving = (asyncio.create_task(together.ask(number)) for number in (1, 2))
    await asyncio.sleep(0.01)
    leaving.cancel()
    oracle.let.set()
    assert await staying == 2
    with pytest.raises(asyncio.CancelledError):
        await leaving
