"""Signing in over the routes: the happy path, every refusal, every SIWE vector, races."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from siwe import SiweMessage

from leasebox.identity.model import SCOPES
from tests.identity.eip4361 import vectors, wrong_messages
from tests.kit import Agent, House, opened, settings_for, sign


async def challenge(house: House, address: str, **more: Any) -> dict[str, Any]:
    async with house.client() as http:
        answer = await http.post("/v2/auth/siwe/challenge", json={"wallet_address": address, **more})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def verify(house: House, message: str, signature: str) -> Any:
    async with house.client() as http:
        return await http.post("/v2/auth/siwe/verify", json={"message": message, "signature": signature})


async def test_a_wallet_signs_in_and_out(house: House) -> None:
    wallet = Account.create()
    made = await challenge(house, wallet.address.lower())
    parsed = SiweMessage.from_message(made["message"], abnf=True)
    assert parsed.domain == "leasebox.test"
    assert parsed.address == wallet.address
    assert parsed.chain_id == 84532
    assert re.fullmatch(r"[0-9a-f]{32}", parsed.nonce)
    assert parsed.request_id
    answer = await verify(house, made["message"], sign(wallet, made["message"]))
    session = answer.json()
    assert session["token_type"] == "Bearer"
    assert session["expires_in"] == 3600
    assert session["did"] == f"did:pkh:eip155:84532:{wallet.address}"
    assert set(session["scopes"]) == set(SCOPES)
    agent = Agent(house.client(), wallet, session)
    me = (await agent.http.get("/v2/auth/me")).json()
    assert (me["tenant_id"], me["agent_id"]) == (session["tenant_id"], session["agent_id"])
    assert [each["address"] for each in me["wallets"]] == [wallet.address]
    assert (await agent.http.delete("/v2/auth/session")).status_code == 204
    assert (await agent.http.get("/v2/auth/me")).status_code == 401


async def test_the_second_sign_in_finds_the_same_tenant_and_agent(house: House) -> None:
    first = await house.agent()
    again = await house.agent(first.wallet)
    assert again.session["tenant_id"] == first.session["tenant_id"]
    assert again.agent_id == first.agent_id
    assert again.session["access_token"] != first.session["access_token"]


async def test_two_first_sign_ins_at_once_make_one_tenant(house: House) -> None:
    wallet = Account.create()
    agents = await asyncio.gather(*(house.agent(wallet) for _ in range(20)))
    assert len({agent.session["tenant_id"] for agent in agents}) == 1
    assert len({agent.agent_id for agent in agents}) == 1


async def test_a_nonce_is_good_once_whatever_came_of_it(house: House) -> None:
    wallet, stranger = Account.create(), Account.create()
    made = await challenge(house, wallet.address)
    wrong = await verify(house, made["message"], sign(stranger, made["message"]))
    assert (wrong.status_code, wrong.json()["reason"]) == (401, "signature")
    right = await verify(house, made["message"], sign(wallet, made["message"]))
    assert (right.status_code, right.json()["reason"]) == (401, "nonce")


async def test_of_a_hundred_uses_of_one_nonce_one_succeeds(house: House) -> None:
    wallet = Account.create()
    made = await challenge(house, wallet.address)
    signature = sign(wallet, made["message"])
    answers = await asyncio.gather(*(verify(house, made["message"], signature) for _ in range(100)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 99


async def test_asking_for_another_challenge_does_not_void_the_first(house: House) -> None:
    wallet = Account.create()
    mine = await challenge(house, wallet.address)
    await challenge(house, wallet.address)
    assert (await verify(house, mine["message"], sign(wallet, mine["message"]))).status_code == 200


async def test_a_challenge_expires_by_the_clock(house: House) -> None:
    wallet = Account.create()
    made = await challenge(house, wallet.address)
    house.clock.advance(minutes=5, seconds=1)
    late = await verify(house, made["message"], sign(wallet, made["message"]))
    assert (late.status_code, late.json()["reason"]) == (401, "expired")


@pytest.mark.parametrize(
    "change",
    [
        ("leasebox.test wants", "evil.test wants"),
        ("Chain ID: 84532", "Chain ID: 1"),
        ("This costs nothing.", "Send me all."),
        ("Version: 1\n", "Version: 1\n"),
    ],
)
async def test_only_the_exact_bytes_that_were_issued_count(house: House, change: tuple[str, str]) -> None:
    wallet = Account.create()
    message = (await challenge(house, wallet.address))["message"].replace(*change)
    untouched = change[0] == change[1]
    answer = await verify(house, message, sign(wallet, message))
    assert answer.status_code == (200 if untouched else 401)
    assert untouched or answer.json()["reason"] == "message"


async def test_a_nonce_in_the_wrong_field_finds_nothing(house: House) -> None:
    wallet = Account.create()
    made = await challenge(house, wallet.address)
    moved = re.sub(r"Nonce: \w+", "Nonce: 00000000", made["message"])
    moved = re.sub(r"Request ID: .*", f"Request ID: {made['nonce']}", moved)
    answer = await verify(house, moved, sign(wallet, moved))
    assert (answer.status_code, answer.json()["reason"]) == (401, "nonce")


@pytest.mark.parametrize(
    "signature",
    ["", "0x", "0x00", "no hex at all", "0x" + "00" * 65, "0x" + "ff" * 65, "0x" + "11" * 64, "0x" + "a" * 131],
)
async def test_malformed_signatures_are_401(house: House, signature: str) -> None:
    made = await challenge(house, Account.create().address)
    answer = await verify(house, made["message"], signature)
    assert answer.status_code == 401
    assert answer.json()["fix"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "body.wallet_address"),
        ({"wallet_address": "0x12"}, "body.wallet_address"),
        ({"wallet_address": 5}, "body.wallet_address"),
        ({"wallet_address": "0x" + "a" * 40, "chain_id": "84532"}, "body.chain_id"),
        ({"wallet_address": "0x" + "a" * 40, "walet": 1}, "body.walet"),
    ],
)
async def test_faults_of_a_body_are_named(house: House, body: dict[str, Any], path: str) -> None:
    async with house.client() as http:
        answer = await http.post("/v2/auth/siwe/challenge", json=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert path in [each["path"] for each in answer.json()["errors"]]


async def test_all_faults_are_told_together(house: House) -> None:
    async with house.client() as http:
        answer = await http.post("/v2/auth/siwe/verify", json={"message": 1, "extra": 2})
    assert {each["path"] for each in answer.json()["errors"]} == {"body.message", "body.signature", "body.extra"}


@pytest.mark.parametrize("address", ["0x" + "g" * 40, "0xC02AAA39b223FE8D0A0e5C4F27eAD9083C756Cc2"])
async def test_addresses_that_are_none_are_422(house: House, address: str) -> None:
    async with house.client() as http:
        answer = await http.post("/v2/auth/siwe/challenge", json={"wallet_address": address})
    assert answer.status_code == 422


async def test_a_chain_that_is_not_served_is_422(house: House) -> None:
    async with house.client() as http:
        answer = await http.post(
            "/v2/auth/siwe/challenge", json={"wallet_address": Account.create().address, "chain_id": 1}
        )
    assert answer.status_code == 422
    assert "84532" in answer.json()["fix"]


@pytest.mark.parametrize("name", sorted(wrong_messages()) or ["absent"])
async def test_siwe_vectors_that_must_not_parse_are_400(house: House, name: str) -> None:
    if name == "absent":
        pytest.skip("the shared SIWE vectors are absent")
    answer = await verify(house, wrong_messages()[name], "0x" + "11" * 65)
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("name", sorted(vectors("parsing_positive")) or ["absent"])
async def test_siwe_vectors_that_must_parse_fail_only_at_their_nonce(house: House, name: str) -> None:
    if name == "absent":
        pytest.skip("the shared SIWE vectors are absent")
    answer = await verify(house, vectors("parsing_positive")[name]["message"], "0x" + "11" * 65)
    assert (answer.status_code, answer.json()["reason"]) == (401, "nonce")


async def test_caps_are_per_client_address_never_per_wallet(database_url: str, redis_url: str, tmp_path: Path) -> None:
    from tests.fakes.clock import FakeClock

    settings = settings_for(database_url, redis_url, str(tmp_path), LEASEBOX_SIGNIN_RATE="3/min")
    async with opened(settings, FakeClock()) as house:
        wallet, body = Account.create(), {}
        body = {"wallet_address": wallet.address}
        async with house.client(address="192.0.2.77") as flood, house.client(address="192.0.2.78") as owner:
            answers = [await flood.post("/v2/auth/siwe/challenge", json=body) for _ in range(4)]
            assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
            assert int(answers[3].headers["retry-after"]) >= 1
            assert answers[0].headers["ratelimit-policy"] == '"challenge";q=3;w=60'
            assert (await owner.post("/v2/auth/siwe/challenge", json=body)).status_code == 200


async def test_farms_of_tenants_are_limited_per_client_address(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    from tests.fakes.clock import FakeClock

    settings = settings_for(database_url, redis_url, str(tmp_path), LEASEBOX_TENANT_RATE="2/h")
    async with opened(settings, FakeClock()) as house:
        farm = house.client(address="192.0.2.99")
        wallets = [Account.create() for _ in range(3)]
        for wallet in wallets[:2]:
            await Agent.signed_in(farm, wallet)
        made = (await farm.post("/v2/auth/siwe/challenge", json={"wallet_address": wallets[2].address})).json()
        body = {"message": made["message"], "signature": sign(wallets[2], made["message"])}
        assert (await farm.post("/v2/auth/siwe/verify", json=body)).status_code == 429
        await Agent.signed_in(farm, wallets[0])


async def test_a_further_wallet_is_bound_signs_in_and_is_removed(house: House) -> None:
    agent, second = await house.agent(), Account.create()
    made = (await agent.http.post("/v2/tenants/wallets/challenge", json={"wallet_address": second.address})).json()
    body = {"message": made["message"], "signature": sign(second, made["message"])}
    assert agent.session["tenant_id"] in made["message"]
    bound = await agent.http.post("/v2/tenants/wallets", json=body)
    assert (bound.status_code, bound.json()["address"]) == (201, second.address)
    other = await house.agent(second)
    assert other.session["tenant_id"] == agent.session["tenant_id"]
    assert other.agent_id != agent.agent_id
    assert (await agent.http.delete(f"/v2/tenants/wallets/{second.address}")).status_code == 204
    assert (await agent.http.delete(f"/v2/tenants/wallets/{second.address}")).status_code == 404
    house.clock.advance(seconds=1)
    assert (await other.http.get("/v2/auth/me")).status_code == 401
    last = await agent.http.delete(f"/v2/tenants/wallets/{agent.wallet.address}")
    assert (last.status_code, last.json()["error"]) == (409, "conflict")


async def test_a_wallet_of_another_tenant_is_409(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    made = (
        await agent.http.post("/v2/tenants/wallets/challenge", json={"wallet_address": other.wallet.address})
    ).json()
    body = {"message": made["message"], "signature": sign(other.wallet, made["message"])}
    assert (await agent.http.post("/v2/tenants/wallets", json=body)).status_code == 409


async def test_a_sign_in_message_binds_nothing_and_a_binding_signs_nobody_in(house: House) -> None:
    agent, second = await house.agent(), Account.create()
    made = await challenge(house, second.address)
    body = {"message": made["message"], "signature": sign(second, made["message"])}
    assert (await agent.http.post("/v2/tenants/wallets", json=body)).status_code == 401
    made = (await agent.http.post("/v2/tenants/wallets/challenge", json={"wallet_address": second.address})).json()
    assert (await verify(house, made["message"], sign(second, made["message"]))).status_code == 401


async def test_of_two_wallets_removed_at_once_one_stays(house: House) -> None:
    agent, second = await house.agent(), Account.create()
    made = (await agent.http.post("/v2/tenants/wallets/challenge", json={"wallet_address": second.address})).json()
    body = {"message": made["message"], "signature": sign(second, made["message"])}
    await agent.http.post("/v2/tenants/wallets", json=body)
    answers = await asyncio.gather(
        *(agent.http.delete(f"/v2/tenants/wallets/{each.address}") for each in (agent.wallet, second))
    )
    assert 204 in [answer.status_code for answer in answers]
    left = await house.db.read(lambda tx: tx.value("SELECT count(*) FROM wallets"))
    assert left == 1


async def test_a_session_ends_after_an_hour(house: House) -> None:
    agent = await house.agent()
    house.clock.advance(hours=1)
    answer = await agent.http.get("/v2/auth/me")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_signing_out_holds_in_every_process_within_a_second(house: House) -> None:
    agent = await house.agent()
    async with opened(house.settings, house.clock) as other:
        elsewhere = other.client(headers={"authorization": agent.http.headers["authorization"]})
        assert (await elsewhere.get("/v2/auth/me")).status_code == 200
        assert (await agent.http.delete("/v2/auth/session")).status_code == 204
        house.clock.advance(seconds=1)
        assert (await elsewhere.get("/v2/auth/me")).status_code == 401


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Basic abc", "Bearer lbs_" + "A" * 43, "Bearer lb_" + "A" * 49]
)
async def test_bearer_tokens_that_are_none_are_401(house: House, header: str) -> None:
    async with house.client(headers={"authorization": header}) as http:
        answer = await http.get("/v2/auth/me")
    assert answer.status_code == 401
    assert answer.json()["fix"]


async def test_a_suspended_tenant_is_403(house: House) -> None:
    agent = await house.agent()
    await house.db.transact(lambda tx: tx.run("UPDATE tenants SET status = 'suspended'"))
    house.clock.advance(seconds=1)
    answer = await agent.http.get("/v2/auth/me")
    assert (answer.status_code, answer.json()["error"]) == (403, "tenant_inactive")
    made = await challenge(house, agent.wallet.address)
    assert (await verify(house, made["message"], sign(agent.wallet, made["message"]))).status_code == 403


async def test_tokens_are_stored_hashed_only(house: House) -> None:
    agent = await house.agent()
    rows = await house.db.read(lambda tx: tx.all("SELECT sessions::text AS line FROM sessions"))
    assert agent.session["access_token"] not in str(rows)


async def test_every_sign_in_is_audited(house: House) -> None:
    agent = await house.agent()
    rows = await house.db.read(lambda tx: tx.all("SELECT action, actor FROM audit_rows WHERE tenant_id IS NOT NULL"))
    assert sorted(row["action"] for row in rows) == ["session.create", "tenant.create"]
    assert {row["actor"] for row in rows} == {agent.agent_id}
