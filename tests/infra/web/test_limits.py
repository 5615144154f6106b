"""Rate limits over HTTP: what is taken, what the headers say (draft-ietf-httpapi-ratelimit-headers), what 429 says."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from litestar.connection import ASGIConnection

from leasebox.infra.web.limits import client, limit_address
from leasebox.values.errors import RateLimited
from leasebox.values.rate import Rate
from tests.fakes.clock import FakeClock
from tests.kit import House, opened, settings_for


@pytest.fixture
async def strict(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    settings = settings_for(database_url, redis_url, str(tmp_path), LEASEBOX_API_RATE="3/h")
    async with opened(settings, FakeClock()) as house:
        yield house


async def test_a_tenants_calls_are_counted_down_and_refused_with_a_time(strict: House) -> None:
    agent = await strict.agent()
    answers = [await agent.http.get("/v2/auth/me") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    left = [re.fullmatch(r'"api";r=(\d+);t=(\d+)', answer.headers["ratelimit"]) for answer in answers]
    assert [int(match[1]) for match in left if match] == [2, 1, 0, 0]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"api";q=3;w=3600'}
    refused = answers[3].json()
    assert (refused["error"], refused["limit"], refused["window"]) == ("rate_limited", 3, "3600s")
    wait = int(answers[3].headers["retry-after"])
    assert 1195 <= wait <= 1201
    strict.clock.advance(seconds=wait)
    agent = await strict.agent(agent.wallet)
    assert (await agent.http.get("/v2/auth/me")).status_code == 200


async def test_all_credentials_of_a_tenant_share_and_tenants_do_not(strict: House) -> None:
    agent, other = await strict.agent(), await strict.agent()
    key = (await agent.http.post("/v2/api-keys", json={"name": "k", "scopes": ["mail:read"]})).json()["api_key"]
    async with strict.client(headers={"authorization": f"Bearer {key}"}) as keyed:
        assert [(await keyed.get("/v2/auth/me")).status_code for _ in range(3)] == [200, 200, 429]
    assert (await agent.http.get("/v2/auth/me")).status_code == 429
    assert (await other.http.get("/v2/auth/me")).status_code == 200


async def test_a_refused_call_is_counted_but_does_nothing(strict: House) -> None:
    agent = await strict.agent()
    for _ in range(3):
        await agent.http.get("/v2/nowhere")  # no route, no count
    for _ in range(3):
        assert (await agent.http.post("/v2/agents", json={})).status_code == 400
    assert (await agent.http.post("/v2/agents", json={"name": "a"})).status_code == 429
    assert await strict.db.read(lambda tx: tx.value("SELECT count(*) FROM agents")) == 1


async def test_zero_turns_a_limit_off(house: House) -> None:
    agent = await house.agent()
    answers = [await agent.http.get("/v2/auth/me") for _ in range(150)]
    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[0].headers


async def test_an_address_is_counted_by_its_subscriber(house: House) -> None:
    def calling(address: str) -> ASGIConnection:  # type: ignore[type-arg]
        return ASGIConnection({"type": "http", "state": {"client_address": address}})  # type: ignore[typeddict-item]

    assert client(calling("2001:db8::1")) == "2001:db8::1"
    rate = Rate(2, 3600)
    for host in (1, 2):
        await limit_address(calling(f"2001:db8:77::{host}"), house.base.cache, "probe", rate)
    with pytest.raises(RateLimited):
        await limit_address(calling("2001:db8:77::3"), house.base.cache, "probe", rate)
    await limit_address(calling("2001:db8:78::3"), house.base.cache, "probe", rate)
