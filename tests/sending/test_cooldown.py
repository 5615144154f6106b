"""The cooldown on a real PostgreSQL: exact under races, clock steps and rollbacks; a wallet lifts it at once."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leasebox.identity import service as identity
from leasebox.infra import db
from leasebox.infra.db import Database, Tx
from leasebox.sending import cooldown
from leasebox.sending.errors import CooldownLimit
from leasebox.values.ids import TenantId

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
MINUTE = timedelta(minutes=1)
ADDRESS = "0x" + "a1" * 20


@pytest.fixture
async def pools(database_url: str) -> AsyncIterator[Sequence[Database]]:
    """Two processes' pools on one database."""
    both = [await db.connect(database_url, at_most=8), await db.connect(database_url, at_most=8)]
    yield both
    for each in both:
        await each.close()


@pytest.fixture
async def tenant(pools: Sequence[Database]) -> TenantId:
    """A tenant without a wallet."""
    return await founded(pools[0])


async def founded(database: Database) -> TenantId:
    caller = await database.transact(lambda tx: identity.found_tenant(tx, "nobody", NOON, "req_test"))
    return caller.tenant_id


async def send(database: Database, tenant_id: TenantId, recipients: int, at: datetime = NOON) -> CooldownLimit | None:
    """The refusal, if there was one."""
    try:
        await database.transact(lambda tx: cooldown.take(tx, tenant_id, recipients, at))
    except CooldownLimit as refusal:
        return refusal
    return None


async def bind(database: Database, tenant_id: TenantId, address: str = ADDRESS) -> None:
    sql = "INSERT INTO wallets (address, tenant_id, chain_id, bound_at) VALUES ($1, $2, 1, $3)"
    await database.transact(lambda tx: tx.run(sql, address, tenant_id, NOON))


async def rows(database: Database) -> int:
    return int(await database.read(lambda tx: tx.value("SELECT count(*) FROM cooldowns")))


async def test_ten_recipients_and_not_one_more(pools: Sequence[Database], tenant: TenantId) -> None:
    assert await send(pools[0], tenant, 7) is None
    assert await send(pools[0], tenant, 3, NOON + MINUTE) is None
    refusal = await send(pools[0], tenant, 1, NOON + 2 * MINUTE)
    assert refusal is not None
    assert (refusal.kind.value, refusal.code) == (429, "cooldown_limit")
    assert refusal.fields == {
        "limit": 10,
        "window": "24h",
        "action": "bind_wallet",
        "retry_at": "2026-11-21T12:00:00Z",
    }
    assert refusal.retry_after_s == 24 * 3600 - 120
    assert "wallet" in refusal.fix


async def test_the_whole_message_is_refused_and_takes_nothing(pools: Sequence[Database], tenant: TenantId) -> None:
    assert await send(pools[0], tenant, 8) is None
    assert await send(pools[0], tenant, 3) is not None
    assert await send(pools[0], tenant, 2) is None
    assert await send(pools[0], tenant, 1) is not None


async def test_a_message_that_can_never_fit_says_so(pools: Sequence[Database], tenant: TenantId) -> None:
    refusal = await send(pools[0], tenant, 11)
    assert refusal is not None
    assert refusal.fields["retry_at"] is None
    assert refusal.retry_after_s is None
    assert "waiting does not help" in refusal.message
    assert await rows(pools[0]) == 0
    assert await send(pools[0], tenant, 10) is None


async def test_a_message_without_recipients_is_a_mistake(pools: Sequence[Database], tenant: TenantId) -> None:
    with pytest.raises(ValueError, match="recipient"):
        await send(pools[0], tenant, 0)


@pytest.mark.parametrize(("recipients", "retry_at"), [(1, 0), (2, 0), (3, 60), (6, 60), (7, 120), (10, 120)])
async def test_retry_at_is_when_this_very_message_fits(
    pools: Sequence[Database], tenant: TenantId, recipients: int, retry_at: int
) -> None:
    for minute, size in enumerate((2, 4, 4)):
        assert await send(pools[0], tenant, size, NOON + minute * MINUTE) is None
    refusal = await send(pools[0], tenant, recipients, NOON + timedelta(hours=1))
    fits = NOON + DAY + timedelta(seconds=retry_at)
    assert refusal is not None
    assert refusal.fields["retry_at"] == fits.isoformat().replace("+00:00", "Z")
    assert await send(pools[0], tenant, recipients, fits - timedelta(microseconds=1)) is not None
    assert await send(pools[0], tenant, recipients, fits) is None


async def test_the_window_rolls_and_old_recipients_are_forgotten(pools: Sequence[Database], tenant: TenantId) -> None:
    for hour in range(100):
        assert await send(pools[0], tenant, 1, NOON + hour * DAY / 10) is None
    kept = await pools[0].read(lambda tx: tx.value("SELECT cardinality(sent_at) FROM cooldowns"))
    assert kept == 10


async def test_a_message_that_fails_costs_nothing(pools: Sequence[Database], tenant: TenantId) -> None:
    async def fails(tx: Tx) -> None:
        await cooldown.take(tx, tenant, 10, NOON)
        raise RuntimeError("the work failed")

    with pytest.raises(RuntimeError):
        await pools[0].transact(fails)
    assert await send(pools[0], tenant, 10) is None


async def test_tenants_do_not_share_it(pools: Sequence[Database], tenant: TenantId) -> None:
    other = await founded(pools[0])
    assert await send(pools[0], tenant, 10) is None
    assert await send(pools[0], other, 10) is None
    assert await send(pools[0], other, 1) is not None


async def test_of_a_hundred_messages_at_once_exactly_ten_go_out(pools: Sequence[Database], tenant: TenantId) -> None:
    results = await asyncio.gather(*(send(pools[n % 2], tenant, 1) for n in range(100)))
    assert results.count(None) == 10
    assert {refusal.fields["retry_at"] for refusal in results if refusal} == {"2026-11-21T12:00:00Z"}


async def test_of_a_hundred_at_once_one_is_the_tenth(pools: Sequence[Database], tenant: TenantId) -> None:
    assert await send(pools[0], tenant, 9) is None
    results = await asyncio.gather(*(send(pools[n % 2], tenant, 1) for n in range(100)))
    assert results.count(None) == 1


@pytest.mark.parametrize("seed", range(5))
async def test_messages_of_all_sizes_at_once_never_pass_ten(
    pools: Sequence[Database], tenant: TenantId, seed: int
) -> None:
    sizes = random.Random(seed).choices(range(1, 8), k=100)
    results = await asyncio.gather(*(send(pools[n % 2], tenant, size) for n, size in enumerate(sizes)))
    sent = sum(size for size, refusal in zip(sizes, results, strict=True) if refusal is None)
    refused = [size for size, refusal in zip(sizes, results, strict=True) if refusal is not None]
    assert sent <= 10
    assert min(refused) > 10 - sent


async def test_a_message_waits_for_one_that_may_still_fail(pools: Sequence[Database], tenant: TenantId) -> None:
    """The second decides on what the first left behind, not on what it saw before it had to wait."""
    holding, let_go = asyncio.Event(), asyncio.Event()

    async def slow(tx: Tx) -> None:
        await cooldown.take(tx, tenant, 9, NOON)
        holding.set()
        await let_go.wait()
        raise RuntimeError("the work failed")

    first = asyncio.create_task(pools[0].transact(slow))
    await holding.wait()
    second = asyncio.create_task(send(pools[1], tenant, 9))
    await asyncio.sleep(0.1)
    assert not second.done()
    let_go.set()
    assert await second is None
    assert isinstance((await asyncio.gather(first, return_exceptions=True))[0], RuntimeError)


async def test_a_wallet_lifts_it_at_once_and_leaves_no_trace(pools: Sequence[Database], tenant: TenantId) -> None:
    assert await send(pools[0], tenant, 10) is None
    assert await send(pools[1], tenant, 1) is not None
    await bind(pools[0], tenant)
    assert await send(pools[1], tenant, 1) is None
    assert await send(pools[1], tenant, 500) is None
    newcomer = await founded(pools[0])
    await bind(pools[0], newcomer, "0x" + "b2" * 20)
    assert await send(pools[0], newcomer, 50) is None
    assert await rows(pools[0]) == 1


async def test_binding_races_with_sending(pools: Sequence[Database], tenant: TenantId) -> None:
    """Whatever the order, nobody is refused after the wallet was committed, and no more than ten went out before."""
    bound_at: list[float] = []
    loop = asyncio.get_running_loop()

    async def one(number: int) -> tuple[float, CooldownLimit | None]:
        await asyncio.sleep(random.Random(number).random() * 0.1)
        started = loop.time()
        return started, await send(pools[number % 2], tenant, 1)

    async def wallet() -> None:
        await asyncio.sleep(0.05)
        await bind(pools[0], tenant)
        bound_at.append(loop.time())

    results, _ = await asyncio.gather(asyncio.gather(*(one(number) for number in range(100))), wallet())
    assert all(refusal is None for started, refusal in results if started > bound_at[0])
    counted = await pools[0].read(lambda tx: tx.value("SELECT coalesce(max(cardinality(sent_at)), 0) FROM cooldowns"))
    assert counted <= 10


async def test_a_wallet_bound_while_a_message_waits_lets_it_go_out(pools: Sequence[Database], tenant: TenantId) -> None:
    holding, let_go = asyncio.Event(), asyncio.Event()

    async def slow(tx: Tx) -> None:
        await cooldown.take(tx, tenant, 10, NOON)
        holding.set()
        await let_go.wait()

    first = asyncio.create_task(pools[0].transact(slow))
    await holding.wait()
    second = asyncio.create_task(send(pools[1], tenant, 1))
    await asyncio.sleep(0.1)
    await bind(pools[0], tenant)
    let_go.set()
    await first
    assert await second is None


@pytest.mark.parametrize("step", [timedelta(minutes=-10), timedelta(hours=-2), timedelta(days=-3)])
async def test_a_clock_that_is_set_back_frees_nothing(
    pools: Sequence[Database], tenant: TenantId, step: timedelta
) -> None:
    assert await send(pools[0], tenant, 10) is None
    refusal = await send(pools[0], tenant, 1, NOON + step)
    assert refusal is not None
    assert refusal.fields["retry_at"] == "2026-11-21T12:00:00Z"
    assert refusal.retry_after_s == int((DAY - step).total_seconds())


async def test_stepping_to_and_fro_mints_nothing(pools: Sequence[Database], tenant: TenantId) -> None:
    """What a step forward forgot is not sent again after the step back: within a day by any clock, ten at most."""
    assert await send(pools[0], tenant, 10, NOON) is None
    ahead = NOON + DAY
    assert await send(pools[0], tenant, 1, ahead) is None
    assert await send(pools[1], tenant, 9, ahead - 10 * MINUTE) is None
    assert await send(pools[0], tenant, 1, ahead - 10 * MINUTE) is not None
    assert await send(pools[1], tenant, 1, ahead + DAY - MINUTE) is not None
    assert await send(pools[0], tenant, 10, ahead + DAY) is None


@pytest.mark.parametrize("seed", range(3))
async def test_no_window_of_a_long_journal_holds_more_than_ten(
    pools: Sequence[Database], tenant: TenantId, seed: int
) -> None:
    """Two processes whose clocks differ by minutes, messages of all sizes, three days: the journal decides."""
    dice, at, sent = random.Random(seed), NOON, list[datetime]()
    for _ in range(200):
        at += timedelta(minutes=dice.randrange(50))
        process, size = dice.randrange(2), dice.randrange(1, 6)
        clock = at - 10 * MINUTE * process
        fits = sum(moment > max([clock, *sent[-1:]]) - DAY for moment in sent) + size <= 10
        refusal = await send(pools[process], tenant, size, clock)
        assert (refusal is None) == fits
        if refusal is None:
            sent += [max([clock, *sent[-1:]])] * size
    assert len(sent) > 20
    for moment in sent:
        assert sum(moment <= other < moment + DAY for other in sent) <= 10


async def test_the_row_itself_refuses_an_eleventh(pools: Sequence[Database], tenant: TenantId) -> None:
    sql = "INSERT INTO cooldowns (tenant_id, sent_at) VALUES ($1, array_fill($2::timestamptz, ARRAY[11]))"
    values: tuple[Any, ...] = (tenant, NOON)
    with pytest.raises(Exception, match="cooldowns_limit_check"):
        await pools[0].transact(lambda tx: tx.run(sql, *values))
