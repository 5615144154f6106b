"""Suppressing and lifting by the verbs: the first reason stays, and each tenant has a list of its own."""

import asyncio

import pytest

from leasebox.audit.model import Act
from leasebox.sending import suppressions
from leasebox.values.errors import NotFound
from leasebox.values.ids import SendAttemptId
from tests.kit import House
from tests.kit_mail import rows, shared_house
from tests.sending.writing_desk import ELSEWHERE, Writer

__all__ = ["shared_house"]


@pytest.fixture
async def ann(shared_house: House) -> Writer:
    return await Writer.new(shared_house)


async def suppress(ann: Writer, reason: suppressions.Reason = "hard_bounce", detail: str = "550 gone") -> bool:
    at = ann.house.clock.now()
    attempt = SendAttemptId.new(at)
    return await ann.house.db.transact(
        lambda tx: suppressions.suppress(tx, ann.tenant_id, ELSEWHERE, reason, attempt, detail, at)
    )


async def test_the_first_reason_stays(ann: Writer) -> None:
    assert await suppress(ann)
    assert not await suppress(ann, "complaint")
    (found,) = await ann.house.db.read(lambda tx: suppressions.listed(tx, ann.tenant_id, None, None, None, 10))
    assert (found.address, found.reason, found.detail) == (ELSEWHERE, "hard_bounce", "550 gone")
    assert await ann.house.db.read(lambda tx: suppressions.among(tx, ann.tenant_id, [ELSEWHERE, "b@a.example"])) == {
        ELSEWHERE: "hard_bounce"
    }


async def test_of_many_at_once_one_is_the_first(ann: Writer) -> None:
    assert sorted(await asyncio.gather(*(suppress(ann) for _ in range(8)))) == [False] * 7 + [True]


async def test_what_came_of_an_attempt_is_written_down_once(ann: Writer) -> None:
    at = ann.house.clock.now()
    attempt = SendAttemptId.new(at)
    for _ in range(2):
        await ann.house.db.transact(
            lambda tx: suppressions.suppress_after(
                tx, ann.tenant_id, ELSEWHERE, "hard_bounce", attempt, "550 gone", "job:test", at
            )
        )
    sql = "SELECT actor, resource, detail FROM audit_rows WHERE tenant_id = $1 AND action = 'suppression.add'"
    (row,) = await rows(ann.house, sql, ann.tenant_id)
    wanted = {"reason": "hard_bounce", "send_attempt_id": str(attempt)}
    assert (row["actor"], row["resource"], row["detail"]) == ("job:test", ELSEWHERE, wanted)


async def test_endless_words_of_a_server_are_cut(ann: Writer) -> None:
    await suppress(ann, detail="x" * 5_000)
    (found,) = await ann.house.db.read(lambda tx: suppressions.listed(tx, ann.tenant_id, None, None, None, 10))
    assert len(found.detail) == 500


async def test_it_is_lifted_once_and_written_down(ann: Writer) -> None:
    await suppress(ann)
    act = Act(ann.house.clock.now(), "wallet:test", "suppression.lift", ELSEWHERE, ann.tenant_id, "req_test")
    await ann.house.db.transact(lambda tx: suppressions.lift_any(tx, ann.tenant_id, ELSEWHERE, act))
    with pytest.raises(NotFound):
        await ann.house.db.transact(lambda tx: suppressions.lift_any(tx, ann.tenant_id, ELSEWHERE, act))
    found = await rows(
        ann.house, "SELECT detail FROM audit_rows WHERE tenant_id = $1 AND action = 'suppression.lift'", ann.tenant_id
    )
    assert [row["detail"] for row in found] == [{"reason": "hard_bounce"}]
