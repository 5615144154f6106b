"""SQL of identity: secrets as hashes, one wallet's changes after the other."""

import asyncio
import inspect

from leasebox.identity import store
from leasebox.values.secret import Secret, fingerprint
from tests.kit import House


async def test_tokens_are_found_by_their_hash_and_by_nothing_else(house: House) -> None:
    agent = await house.agent()
    token = agent.session["access_token"]
    found = await house.db.read(lambda tx: store.find_session(tx, fingerprint(Secret(token))))
    assert found is not None
    assert found["wallet_address"] == agent.wallet.address
    assert await house.db.read(lambda tx: store.find_session(tx, token.encode())) is None
    assert await house.db.read(lambda tx: store.find_key(tx, fingerprint(Secret(token)))) is None


async def test_no_column_holds_a_token(house: House) -> None:
    agent = await house.agent()
    key = (await agent.http.post("/v2/api-keys", json={"name": "k", "scopes": ["mail:read"]})).json()["api_key"]
    for table in ("sessions", "api_keys", "audit_rows", "kept_answers", "facts"):
        lines = await house.db.read(lambda tx, table=table: tx.all(f"SELECT t::text AS line FROM {table} t"))  # type: ignore[misc]
        for secret in (key, agent.session["access_token"]):
            assert secret[4:] not in str(lines), table


async def test_a_wallets_lock_lets_one_in_at_a_time(house: House) -> None:
    order = []

    async def within(tx: object) -> None:
        await store.lock_wallet(tx, "0xabc")  # type: ignore[arg-type]
        order.append("in")
        await tx.value("SELECT pg_sleep(0.02)")  # type: ignore[attr-defined]
        order.append("out")

    await asyncio.gather(*(house.db.transact(within) for _ in range(4)))
    assert order == ["in", "out"] * 4


def test_verbs_take_the_transaction_first() -> None:
    for name, verb in inspect.getmembers(store, inspect.iscoroutinefunction):
        if verb.__module__ == store.__name__:
            assert next(iter(inspect.signature(verb).parameters)) == "tx", name
