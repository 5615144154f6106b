"""Idempotency-Key over the routes: done once, answered alike, sealed at rest; also after a crash and for secrets."""

import asyncio
from typing import Any

import httpx
import pytest
from eth_account import Account

from leasebox.infra import kept_answers
from leasebox.infra.reseal import reseal
from leasebox.infra.web import idempotency
from leasebox.infra.web.idempotency import Once
from leasebox.leases import service as leases
from leasebox.values.ids import TenantId
from leasebox.values.keys import Purpose, ring
from leasebox.values.secret import Secret
from tests.kit import Agent, House, opened, sign

LEASES = "/v2/mailboxes/leases"


def order(agent: Agent, **more: Any) -> dict[str, Any]:
    return {"agent_id": agent.agent_id, "purpose": "test", "ttl_hours": 1, **more}


async def ask(agent: Agent, path: str, body: dict[str, Any], key: str = "one") -> httpx.Response:
    return await agent.http.post(path, json=body, headers={"idempotency-key": key})


async def rows(house: House, table: str) -> int:
    return int(await house.db.read(lambda tx: tx.value(f"SELECT count(*) FROM {table}")))


@pytest.mark.parametrize("what", ["leases", "agents", "api_keys", "payment_proofs", "wallets"])
async def test_every_creating_and_paying_post_is_done_once(house: House, what: str) -> None:
    agent, second = await house.agent(), Account.create()
    match what:
        case "leases":
            path, body = LEASES, order(agent)
        case "agents":
            path, body = "/v2/agents", {"name": "a"}
        case "api_keys":
            path, body = "/v2/api-keys", {"name": "k", "scopes": ["mail:read"]}
        case "payment_proofs":
            path, body = "/v2/payments/proof", {"method": "POST", "path": LEASES}
        case _:
            challenge = {"wallet_address": second.address}
            message = (await agent.http.post("/v2/tenants/wallets/challenge", json=challenge)).json()["message"]
            path, body = "/v2/tenants/wallets", {"message": message, "signature": sign(second, message)}
    before = await rows(house, what)
    first = await ask(agent, path, body)
    again = await ask(agent, path, body)
    assert first.status_code == again.status_code < 300, first.text
    assert first.content == again.content
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["content-type"] == first.headers["content-type"] == "application/json"
    assert await rows(house, what) == before + 1


async def test_without_a_key_nothing_is_kept(house: House) -> None:
    agent = await house.agent()
    assert (await agent.lease())["lease_id"] != (await agent.lease())["lease_id"]
    assert await rows(house, "kept_answers") == 0


async def test_another_request_under_the_same_key_is_409(house: House) -> None:
    agent = await house.agent()
    assert (await ask(agent, LEASES, order(agent))).status_code == 201
    for path, body in (
        (LEASES, order(agent, purpose="other")),
        (LEASES + "?a=1", order(agent)),
        ("/v2/agents", {"name": "a"}),
    ):
        answer = await ask(agent, path, body)
        assert (answer.status_code, answer.json()["error"]) == (409, "idempotency_mismatch")
    assert await rows(house, "leases") == 1


async def test_a_key_of_fewer_rights_is_not_shown_the_first_answer(house: House) -> None:
    agent = await house.agent()
    key = (await agent.http.post("/v2/api-keys", json={"name": "k", "scopes": ["mail:allocate"]})).json()["api_key"]
    granted = await ask(agent, LEASES, order(agent))
    limited = house.client(headers={"authorization": f"Bearer {key}", "idempotency-key": "one"})
    answer = await limited.post(LEASES, json=order(agent))
    assert answer.status_code == 409
    assert granted.json()["webmail_password"] not in answer.text


async def test_tenants_have_keys_of_their_own(house: House) -> None:
    one, other = await house.agent(), await house.agent()
    assert (await ask(one, "/v2/agents", {"name": "a"})).json() != (
        await ask(other, "/v2/agents", {"name": "a"})
    ).json()


async def test_a_new_session_of_the_same_agent_gets_the_same_answer(house: House) -> None:
    agent = await house.agent()
    first = await ask(agent, LEASES, order(agent))
    house.clock.advance(hours=23)
    again = await ask(await house.agent(agent.wallet), LEASES, order(agent))
    assert again.content == first.content
    house.clock.advance(hours=1)
    fresh = await ask(await house.agent(agent.wallet), LEASES, order(agent))
    assert fresh.json()["lease_id"] != first.json()["lease_id"]


async def test_a_refusal_is_not_kept(house: House) -> None:
    agent = await house.agent()
    assert (await ask(agent, LEASES, order(agent, domain="elsewhere.example"))).status_code == 422
    assert (await ask(agent, LEASES, order(agent))).status_code == 201


async def test_other_processes_answer_alike(house: House) -> None:
    agent = await house.agent()
    first = await ask(agent, LEASES, order(agent))
    async with opened(house.settings, house.clock) as other:
        again = await ask(Agent(other.client(), agent.wallet, agent.session), LEASES, order(agent))
    assert again.content == first.content


async def test_a_crash_between_commit_and_answer_loses_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, answer = await house.agent(), Once.answer

    async def dies(*given: Any) -> Any:
        await answer(*given)
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(Once, "answer", dies)
        assert (await ask(agent, LEASES, order(agent))).status_code == 500
    assert await rows(house, "leases") == 1
    again = await ask(agent, LEASES, order(agent))
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert again.json()["webmail_password"]
    assert await rows(house, "leases") == await rows(house, "usage_events") == 1


async def test_a_crash_before_the_commit_leaves_the_key_fresh(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, grant = await house.agent(), leases.grant

    async def dies(*given: Any) -> Any:
        await grant(*given)
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(leases, "grant", dies)
        assert (await ask(agent, LEASES, order(agent))).status_code == 500
    assert await rows(house, "leases") == 0
    assert (await ask(agent, LEASES, order(agent))).status_code == 201
    assert await rows(house, "usage_events") == 1


@pytest.mark.parametrize("key", ["", " ", "a" * 256, "a b", "é", "a\tb"])
async def test_what_is_no_key(house: House, key: str) -> None:
    agent = await house.agent()
    headers = {
        b"idempotency-key": key.encode("latin-1"),
        b"authorization": agent.http.headers["authorization"].encode(),
    }
    answer = await agent.http.post(LEASES, json=order(agent), headers=headers)
    assert answer.status_code == 400
    assert await rows(house, "leases") == 0


async def test_the_longest_key(house: House) -> None:
    agent = await house.agent()
    assert (await ask(agent, LEASES, order(agent), "~" * 255)).status_code == 201


async def test_what_is_kept_is_sealed(house: House) -> None:
    agent = await house.agent()
    password = (await ask(agent, LEASES, order(agent))).json()["webmail_password"]
    key = (await ask(agent, "/v2/api-keys", {"name": "k", "scopes": ["mail:read"]}, "two")).json()["api_key"]
    kept = await house.db.read(lambda tx: tx.all("SELECT sealed FROM kept_answers"))
    stored = b"".join(row["sealed"] for row in kept)
    assert len(kept) == 2
    assert password.encode() not in stored
    assert key.encode() not in stored


async def test_a_sealed_answer_opens_in_its_own_row_only(house: House) -> None:
    agent = await house.agent()
    await ask(agent, "/v2/agents", {"name": "a"}, "one")
    await ask(agent, "/v2/agents", {"name": "a"}, "two")
    swap = """
    UPDATE kept_answers a SET sealed = b.sealed FROM kept_answers b WHERE a.key = 'one' AND b.key = 'two'
    """
    await house.db.transact(lambda tx: tx.run(swap))
    answer = await ask(agent, "/v2/agents", {"name": "a"}, "one")
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")


class Line:
    """A request as `Once` sees it, without HTTP."""

    method = "POST"

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {"path": "/v2/agents", "query_string": b""}

    async def body(self) -> bytes:
        return b"{}"


class Someone:
    """Who asks."""

    actor = "agt_test"

    def __init__(self, agent: Agent) -> None:
        self.tenant_id = TenantId.parse(agent.session["tenant_id"])


async def test_who_waits_too_long_is_told_that_it_is_still_running(house: House) -> None:
    asker = Someone(await house.agent())
    once = Once(house.db, house.clock, ring(house.settings.secret, None, Purpose.KEPT_ANSWER), patience_s=0.2)
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(tx: object) -> dict[str, int]:
        del tx
        entered.set()
        await leave.wait()
        return {"n": 1}

    line: Any = Line()
    first = asyncio.create_task(once.answer(line, asker, "k", 201, slow))
    await entered.wait()
    with pytest.raises(idempotency.StillRunning) as refused:
        await once.answer(line, asker, "k", 201, slow)
    assert refused.value.retry_after_s == 1
    with pytest.raises(idempotency.StillRunning):
        await once.recall(line, asker, "k")
    waiting = asyncio.create_task(Once.answer(_patient(once), line, asker, "k", 201, slow))
    leave.set()
    assert (await first).content == (await waiting).content == b'{"n":1}'
    assert idempotency.was_replayed(await waiting)


def _patient(once: Once) -> Once:
    return Once(once._db, once._clock, once._keys)


async def test_answers_outlive_one_change_of_the_master_key(house: House) -> None:
    asker, line = Someone(await house.agent()), Line()
    old, new = Secret("o" * 40), Secret("n" * 40)

    async def work(tx: object) -> dict[str, str]:
        del tx
        return {"secret": "shown once"}

    async def answer(current: Secret, previous: Secret | None) -> Any:
        once = Once(house.db, house.clock, ring(current, previous, Purpose.KEPT_ANSWER))
        return await once.answer(line, asker, "k", 201, work)  # type: ignore[arg-type]

    first = await answer(old, None)
    assert (await answer(new, old)).content == first.content
    with pytest.raises(idempotency.AnswerLost):
        await answer(new, None)
    changing = kept_answers.sealed_answers(ring(new, old, Purpose.KEPT_ANSWER))
    assert await reseal(house.db, changing) == []
    assert (await answer(new, None)).content == first.content
    with pytest.raises(idempotency.AnswerLost):
        await answer(old, None)
