"""Agents and API keys over the routes: a key never exceeds its maker, is shown once, and stops everywhere at once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from eth_account import Account

from leasebox.identity.model import SCOPES
from leasebox.values.clock import rfc3339
from tests.kit import Agent, House, opened, sign
from tests.kit_mail import statuses

KEYS = "/v2/api-keys"


@pytest.fixture
async def agent(house: House) -> Agent:
    return await house.agent()


@pytest.fixture
async def boxes(agent: Agent) -> list[str]:
    """Three mailboxes of the agent."""
    return [(await agent.lease())["mailbox_id"] for _ in range(3)]


async def made(http: httpx.AsyncClient, **order: Any) -> dict[str, Any]:
    """A fresh key."""
    answer = await http.post(KEYS, json={"name": "k", "scopes": ["mail:read"], **order})
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


def using(house: House, key: dict[str, Any]) -> httpx.AsyncClient:
    """A client with that key."""
    return house.client(headers={"authorization": f"Bearer {key['api_key']}"})


async def test_a_key_is_what_was_ordered(house: House, agent: Agent, boxes: list[str]) -> None:
    until = rfc3339(house.clock.now() + timedelta(days=1))
    key = await made(
        agent.http,
        name="ci",
        scopes=["mail:read", "mail:allocate", "mail:read"],
        mailbox_ids=boxes[:2],
        expires_at=until,
    )
    assert (key["name"], key["scopes"], key["mailbox_ids"]) == ("ci", ["mail:read", "mail:allocate"], boxes[:2])
    assert (key["expires_at"], key["agent_id"]) == (until, None)
    assert key["api_key"].startswith(key["hint"])
    async with using(house, key) as http:
        me = (await http.get("/v2/auth/me")).json()
    assert (me["credential_type"], me["credential_id"], me["did"]) == ("api_key", key["api_key_id"], None)
    assert (me["scopes"], me["mailbox_ids"]) == (["mail:allocate", "mail:read"], sorted(boxes[:2]))


async def test_it_is_shown_once_and_stored_hashed(house: House, agent: Agent) -> None:
    key = await made(agent.http)
    listed = await agent.http.get(KEYS)
    assert [each["api_key_id"] for each in listed.json()["items"]] == [key["api_key_id"]]
    assert "api_key" not in listed.json()["items"][0]
    rows = await house.db.read(lambda tx: tx.all("SELECT api_keys::text AS line FROM api_keys"))
    for text in (listed.text, str(rows)):
        assert key["api_key"] not in text
        assert key["api_key"][9:20] not in text


async def test_a_typo_is_refused_without_asking_the_database(house: House, agent: Agent) -> None:
    key = (await made(agent.http))["api_key"]
    await house.db.close()
    for place in (5, 30, 51):
        typo = key[:place] + ("x" if key[place] != "x" else "y") + key[place + 1 :]
        async with house.client(headers={"authorization": f"Bearer {typo}"}) as http:
            answer = await http.get("/v2/auth/me")
        assert (answer.status_code, answer.json()["message"]) == (401, "The bearer token is malformed.")
    async with house.client(headers={"authorization": f"Bearer {key}"}) as http:
        assert (await http.get("/v2/auth/me")).status_code == 503, "a right one would have to be looked up"


@pytest.fixture
async def maker(house: House, agent: Agent, boxes: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    """A key with some scopes, some mailboxes, one agent and an end."""
    order = {
        "scopes": ["keys:write", "mail:read"],
        "mailbox_ids": boxes[:2],
        "agent_id": agent.agent_id,
        "expires_at": rfc3339(house.clock.now() + timedelta(hours=2)),
    }
    async with using(house, await made(agent.http, **order)) as http:
        yield http


WITHIN = {"scopes": ["mail:read"], "agent_id": "own", "mailbox_ids": [0], "hours": 2}


ORDERS: list[tuple[dict[str, Any], int]] = [
    ({}, 201),
    ({"scopes": ["keys:write", "mail:read"]}, 201),
    ({"hours": 1}, 201),
    ({"mailbox_ids": [0, 1]}, 201),
    ({"scopes": ["mail:allocate"]}, 403),
    ({"scopes": ["mail:read", "billing:pay"]}, 403),
    ({"mailbox_ids": None}, 403),
    ({"mailbox_ids": [2]}, 403),
    ({"mailbox_ids": [0, 2]}, 403),
    ({"hours": None}, 403),
    ({"hours": 2.01}, 403),
    ({"agent_id": None}, 403),
    ({"agent_id": "other"}, 403),
    ({"hours": -1}, 422),
    ({"scopes": []}, 400),
    ({"scopes": ["mail:everything"]}, 400),
    ({"mailbox_ids": []}, 400),
]


async def test_a_key_never_exceeds_its_maker(
    house: House, agent: Agent, boxes: list[str], maker: httpx.AsyncClient
) -> None:
    other = (await agent.http.post("/v2/agents", json={"name": "other"})).json()["agent_id"]
    for number, (change, status) in enumerate(ORDERS):
        wanted: dict[str, Any] = {**WITHIN, **change}
        hours, within = wanted["hours"], wanted["mailbox_ids"]
        order = {
            "name": f"child {number}",
            "scopes": wanted["scopes"],
            "agent_id": {"own": agent.agent_id, "other": other, None: None}[wanted["agent_id"]],
            "mailbox_ids": None if within is None else [boxes[each] for each in within],
            "expires_at": None if hours is None else rfc3339(house.clock.now() + timedelta(hours=hours, seconds=-5)),
        }
        answer = await maker.post(KEYS, json=order)
        assert answer.status_code == status, (change, answer.text)
    names = await house.db.read(lambda tx: tx.all("SELECT name FROM api_keys WHERE name LIKE 'child %' ORDER BY id"))
    assert [row["name"] for row in names] == [f"child {n}" for n, (_, status) in enumerate(ORDERS) if status == 201]


@pytest.mark.parametrize(
    "order",
    [
        {"agent_id": "agt_01h455vb4pex5vsknk084sn02q"},
        {"agent_id": "nonsense"},
        {"mailbox_ids": ["mbx_01h455vb4pex5vsknk084sn02q"]},
        {"mailbox_ids": ["nonsense"]},
    ],
)
async def test_what_is_not_there_is_404(agent: Agent, order: dict[str, Any]) -> None:
    answer = await agent.http.post(KEYS, json={"name": "k", "scopes": ["mail:read"], **order})
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


async def test_an_erased_mailbox_gets_no_key(agent: Agent, boxes: list[str]) -> None:
    assert (await agent.http.delete(f"/v2/mailboxes/accounts/{boxes[0]}")).status_code == 204
    answer = await agent.http.post(KEYS, json={"name": "k", "scopes": ["mail:read"], "mailbox_ids": boxes[:1]})
    assert answer.status_code == 404


async def test_no_key_can_bind_or_remove_a_wallet(house: House, agent: Agent) -> None:
    """Who binds a wallet of its own could sign in with every right for ever."""
    thief, key = Account.create(), await made(agent.http, scopes=list(SCOPES))
    async with using(house, key) as http:
        challenge = (await http.post("/v2/tenants/wallets/challenge", json={"wallet_address": thief.address})).json()
        body = {"message": challenge["message"], "signature": sign(thief, challenge["message"])}
        refused = await http.post("/v2/tenants/wallets", json=body)
        assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")
        removed = await http.delete(f"/v2/tenants/wallets/{agent.wallet.address}")
        assert removed.status_code == 403
    assert len((await agent.http.get("/v2/tenants/wallets")).json()["items"]) == 1


async def test_a_limited_key_sees_and_stops_keys_within_its_limits_only(
    agent: Agent, boxes: list[str], maker: httpx.AsyncClient
) -> None:
    whole = await made(agent.http)
    beside = await made(agent.http, mailbox_ids=boxes[2:], agent_id=agent.agent_id)
    within = await made(agent.http, mailbox_ids=boxes[:1], agent_id=agent.agent_id)
    listed = [each["api_key_id"] for each in (await maker.get(KEYS)).json()["items"]]
    own = (await maker.get("/v2/auth/me")).json()["credential_id"]
    assert set(listed) == {within["api_key_id"], own}
    answers = [await maker.delete(f"{KEYS}/{each['api_key_id']}") for each in (whole, beside, within)]
    assert [answer.status_code for answer in answers] == [404, 404, 204]


async def test_a_key_of_one_agent_changes_no_other(agent: Agent, maker: httpx.AsyncClient) -> None:
    other = (await agent.http.post("/v2/agents", json={"name": "other"})).json()["agent_id"]
    assert (await maker.patch(f"/v2/agents/{other}", json={"status": "disabled"})).status_code == 403
    assert (await maker.patch(f"/v2/agents/{agent.agent_id}", json={"name": "mine"})).status_code == 200


async def test_a_revoked_key_stops_here_at_once_and_elsewhere_within_a_second(house: House, agent: Agent) -> None:
    key = await made(agent.http)
    async with opened(house.settings, house.clock) as other, using(house, key) as here, using(other, key) as there:
        assert [(await each.get("/v2/auth/me")).status_code for each in (here, there)] == [200, 200]
        assert (await agent.http.delete(f"{KEYS}/{key['api_key_id']}")).status_code == 204
        assert (await here.get("/v2/auth/me")).status_code == 401
        house.clock.advance(seconds=1)
        assert (await there.get("/v2/auth/me")).status_code == 401
    assert (await agent.http.get(KEYS)).json()["items"] == []
    assert (await agent.http.delete(f"{KEYS}/{key['api_key_id']}")).status_code == 204, "again: the same answer"


async def test_a_key_ends_by_the_clock(house: House, agent: Agent) -> None:
    key = await made(agent.http, expires_at=rfc3339(house.clock.now() + timedelta(minutes=1)))
    async with using(house, key) as http:
        assert (await http.get("/v2/auth/me")).status_code == 200
        house.clock.advance(minutes=1)
        answer = await http.get("/v2/auth/me")
    assert (answer.status_code, "expired" in answer.json()["message"]) == (401, True)


async def test_a_disabled_agents_session_and_keys_stop_everywhere(house: House, agent: Agent) -> None:
    second = Account.create()
    asked = await agent.http.post("/v2/tenants/wallets/challenge", json={"wallet_address": second.address})
    message = asked.json()["message"]
    await agent.http.post("/v2/tenants/wallets", json={"message": message, "signature": sign(second, message)})
    worker = await house.agent(second)
    bound, free = await made(worker.http, agent_id=worker.agent_id), await made(worker.http)
    assert (await agent.http.patch(f"/v2/agents/{worker.agent_id}", json={"status": "disabled"})).status_code == 200
    house.clock.advance(seconds=1)
    async with opened(house.settings, house.clock) as other:
        assert (await worker.http.get("/v2/auth/me")).status_code == 401
        for each, status in ((bound, 401), (free, 200)):
            async with using(other, each) as http:
                assert (await http.get("/v2/auth/me")).status_code == status
    async with house.client() as http:
        asked = await http.post("/v2/auth/siwe/challenge", json={"wallet_address": second.address})
        body = {"message": asked.json()["message"], "signature": sign(second, asked.json()["message"])}
        refused = await http.post("/v2/auth/siwe/verify", json=body)
    assert (refused.status_code, refused.json()["agent_id"]) == (403, worker.agent_id)
    await agent.http.patch(f"/v2/agents/{worker.agent_id}", json={"status": "active"})
    assert (await worker.http.get("/v2/auth/me")).status_code == 200


async def test_an_agent_cannot_lock_its_tenant_out(agent: Agent) -> None:
    answer = await agent.http.patch(f"/v2/agents/{agent.agent_id}", json={"status": "disabled"})
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert (await agent.http.get("/v2/auth/me")).status_code == 200


async def test_a_key_keeps_no_wallets_owner_out(house: House, agent: Agent) -> None:
    async with using(house, await made(agent.http, scopes=["keys:write"])) as keyed:
        for status in ("disabled", "active"):
            answer = await keyed.patch(f"/v2/agents/{agent.agent_id}", json={"status": status})
            assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
            assert answer.json()["fix"]
        assert (await keyed.patch(f"/v2/agents/{agent.agent_id}", json={"name": "renamed"})).status_code == 200
        helper = (await keyed.post("/v2/agents", json={"name": "helper"})).json()["agent_id"]
        assert (await keyed.patch(f"/v2/agents/{helper}", json={"status": "disabled"})).status_code == 200
    assert (await agent.http.get("/v2/auth/me")).status_code == 200


async def test_agents_are_made_renamed_and_listed(agent: Agent) -> None:
    first = (await agent.http.post("/v2/agents", json={"name": "ü 漢"})).json()
    assert (first["name"], first["status"], first["wallet_address"]) == ("ü 漢", "active", None)
    renamed = (await agent.http.patch(f"/v2/agents/{first['agent_id']}", json={"name": "b"})).json()
    assert renamed == {**first, "name": "b"}
    listed = (await agent.http.get("/v2/agents")).json()["items"]
    assert [each["agent_id"] for each in listed] == [first["agent_id"], agent.agent_id]
    assert [each["wallet_address"] for each in listed] == [None, agent.wallet.address], "EIP-55, as everywhere"
    assert (await agent.http.patch("/v2/agents/agt_1", json={"name": "b"})).status_code == 404


async def test_every_change_is_audited(house: House, agent: Agent) -> None:
    key = await made(agent.http)
    other = (await agent.http.post("/v2/agents", json={"name": "a"})).json()["agent_id"]
    await agent.http.patch(f"/v2/agents/{other}", json={"status": "disabled"})
    await agent.http.delete(f"{KEYS}/{key['api_key_id']}")
    rows = await house.db.read(lambda tx: tx.all("SELECT action, resource, actor FROM audit_rows ORDER BY id"))
    told = {(row["action"], row["resource"]) for row in rows if row["actor"] == agent.agent_id}
    assert told >= {
        ("api_key.create", key["api_key_id"]),
        ("api_key.revoke", key["api_key_id"]),
        ("agent.create", other),
        ("agent.change", other),
    }


async def test_many_keys_made_and_revoked_at_once(house: House, agent: Agent) -> None:
    keys = await asyncio.gather(*(made(agent.http, name=f"k{n}") for n in range(30)))
    assert len({key["api_key"] for key in keys}) == len({key["api_key_id"] for key in keys}) == 30
    target = f"{KEYS}/{keys[0]['api_key_id']}"
    assert await statuses([agent.http.delete(target) for _ in range(10)]) == [204] * 10
    left = (await agent.http.get(KEYS, params={"limit": 100})).json()["items"]
    assert len(left) == 29
