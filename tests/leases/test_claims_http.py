"""Claims over the routes: every refusal, rates, what the key may do and that it cannot do more."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account

from tests.claiming import bind, by_token, claimed, poll, press, start
from tests.fakes.clock import FakeClock
from tests.kit import House, opened, settings_for

NOBODY = {"authorization": "Bearer lbc_" + "0" * 64}


async def confirm(house: House, claim: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Response:
    async with house.client() as http:
        return await http.post(f"/v2/claims/{claim['session_id']}/confirm", headers=headers or by_token(claim))


async def test_a_claim_waits_is_approved_and_hands_its_key_out_until_it_is_used(house: House) -> None:
    claim = await start(house, "My-Agent")
    assert claim["address"] == "my-agent@inbox.leasebox.test"
    assert claim["claim_url"].startswith("http://leasebox.test/claims/")
    waiting = await poll(house, claim)
    assert (waiting["status"], waiting["api_key"], waiting["mailbox_id"]) == ("pending", None, None)
    assert (await press(house, claim)).status_code == 303
    first, second = await poll(house, claim), await poll(house, claim)
    assert first["status"] == second["status"] == "approved"
    assert first["api_key"].startswith("lb_")
    assert second == first
    assert first["mailbox_id"] == first["account_id"]
    async with house.client({"authorization": f"Bearer {first['api_key']}"}) as http:
        assert (await http.get("/v2/auth/me")).status_code == 200
    assert await poll(house, claim) == first | {"api_key": None}


async def test_twenty_polls_at_once_get_one_key(house: House) -> None:
    claim = await start(house)
    await press(house, claim)
    views = await asyncio.gather(*(poll(house, claim) for _ in range(20)))
    (key,) = {view["api_key"] for view in views}
    assert key.startswith("lb_")


async def test_answers_with_secrets_are_not_to_be_kept(house: House) -> None:
    claim = await start(house)
    async with house.client() as http:
        made = await http.post("/v2/claims", json={"name": "other"})
        seen = await http.get(f"/v2/claims/{claim['session_id']}", headers=by_token(claim))
    assert (made.headers["cache-control"], seen.headers["cache-control"]) == ("no-store", "no-store")


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 400, "bad_request"),
        ({"name": 5}, 400, "bad_request"),
        ({"name": ""}, 400, "bad_request"),
        ({"name": "a" * 65}, 400, "bad_request"),
        ({"name": "a", "nmae": "b"}, 400, "bad_request"),
        ({"name": "<script>alert(1)</script>"}, 422, "unprocessable"),
        ({"name": "a\r\nset-cookie: x=1"}, 422, "unprocessable"),
        ({"name": "postmaster"}, 422, "unprocessable"),
        ({"name": "a", "domain": "other.example"}, 422, "unprocessable"),
        ({"name": "taken"}, 409, "address_taken"),
    ],
)
async def test_wishes_that_are_refused(house: House, body: dict[str, Any], status: int, error: str) -> None:
    await (await house.agent()).lease(local_part="taken")
    async with house.client() as http:
        answer = await http.post("/v2/claims", json=body)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["fix"]


@pytest.mark.parametrize(
    "sent", [None, "", "Bearer", "Bearer x", "Bearer lbs_" + "0" * 43, "Basic " + "lbc_" + "0" * 64, "lbc_" + "0" * 64]
)
async def test_without_a_claim_token_it_is_401(house: House, sent: str | None) -> None:
    claim = await start(house)
    headers = {} if sent is None else {"authorization": sent}
    async with house.client(headers) as http:
        for answer in (
            await http.get(f"/v2/claims/{claim['session_id']}"),
            await http.post(f"/v2/claims/{claim['session_id']}/confirm"),
        ):
            assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")


async def test_a_wrong_token_is_404_whether_the_claim_exists_or_not(house: House) -> None:
    one, other = await start(house, "ann"), await start(house, "bob")
    async with house.client() as http:
        wrong = await http.get(f"/v2/claims/{one['session_id']}", headers=by_token(other))
        nobody = await http.get("/v2/claims/clm_00000000000000000000000000", headers=NOBODY)
        malformed = await http.get("/v2/claims/no-id", headers=by_token(one))
    assert [answer.status_code for answer in (wrong, nobody, malformed)] == [404, 404, 404]
    assert wrong.json()["message"] == nobody.json()["message"]


async def test_a_claim_expires_by_the_clock_and_is_forgotten_after_a_day(house: House) -> None:
    claim = await start(house)
    house.clock.advance(minutes=30)
    assert (await poll(house, claim))["status"] == "expired"
    house.clock.advance(hours=24)
    async with house.client() as http:
        answer = await http.get(f"/v2/claims/{claim['session_id']}", headers=by_token(claim))
    assert answer.status_code == 404


async def test_a_person_is_needed_unless_the_operator_says_otherwise(house: House) -> None:
    claim = await start(house)
    answer = await confirm(house, claim)
    assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
    assert "claim_url" in answer.json()["fix"]
    assert (await poll(house, claim))["status"] == "pending"


async def test_headless_confirming_answers_with_the_same_key_again(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = settings_for(database_url, redis_url, str(tmp_path), LEASEBOX_CLAIM_CONFIRM="headless")
    async with opened(settings, FakeClock()) as house:
        claim = await start(house)
        assert (await confirm(house, claim, NOBODY)).status_code == 404
        answers = await asyncio.gather(*(confirm(house, claim) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["api_key"] for answer in answers} - {None}) == 1
        assert (await confirm(house, claim)).json() == answers[0].json()
        assert len({answer.json()["lease_id"] for answer in answers}) == 1
        late, declined = await start(house, "late"), await start(house, "declined")
        await press(house, declined, "decline")
        house.clock.advance(minutes=30)
        for each, status in ((late, "expired"), (declined, "declined")):
            answer = await confirm(house, each)
            assert (answer.status_code, answer.json()["claim_status"]) == (409, status)


async def test_an_operator_can_close_claims(database_url: str, redis_url: str, tmp_path: Path) -> None:
    async with opened(settings_for(database_url, redis_url, str(tmp_path)), FakeClock()) as house:
        claim = await start(house)
    settings = settings_for(database_url, redis_url, str(tmp_path), LEASEBOX_CLAIM_CONFIRM="off")
    async with opened(settings, FakeClock()) as house:
        async with house.client() as http:
            answer = await http.post("/v2/claims", json={"name": "other"})
        assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
        assert "wallet" in answer.json()["fix"]
        assert (await press(house, claim)).status_code == 403
        assert (await confirm(house, claim)).status_code == 403
        assert (await poll(house, claim))["status"] == "pending"


async def test_claims_are_limited_per_client_address(database_url: str, redis_url: str, tmp_path: Path) -> None:
    settings = settings_for(database_url, redis_url, str(tmp_path), LEASEBOX_CLAIM_RATE="3/h")
    async with opened(settings, FakeClock()) as house:
        flood, other = house.client(address="192.0.2.131"), house.client(address="192.0.2.132")
        answers = [await flood.post("/v2/claims", json={"name": f"a{n}"}) for n in range(4)]
        assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
        assert int(answers[3].headers["retry-after"]) >= 1
        assert answers[0].headers["ratelimit-policy"] == '"claim";q=3;w=3600'
        assert (await other.post("/v2/claims", json={"name": "b"})).status_code == 201


async def test_farms_of_claimed_tenants_are_limited_per_client_address(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = settings_for(
        database_url, redis_url, str(tmp_path), LEASEBOX_TENANT_RATE="2/h", LEASEBOX_CLAIM_CONFIRM="headless"
    )
    async with opened(settings, FakeClock()) as house:
        made = [await start(house, f"a{n}") for n in range(3)]
        async with house.client(address="192.0.2.141") as farm:
            answers = [
                await farm.post(f"/v2/claims/{claim['session_id']}/confirm", headers=by_token(claim))
                for claim in (*made, made[0])
            ]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 200]


async def test_the_key_works_its_own_mailbox(house: House) -> None:
    view, http = await claimed(house)
    me = (await http.get("/v2/auth/me")).json()
    assert me["mailbox_ids"] == [view["mailbox_id"]]
    assert (me["tenant_id"], me["agent_id"], me["wallets"]) == (view["tenant_id"], view["agent_id"], [])
    assert me["scopes"] == ["keys:write", "mail:allocate", "mail:read", "mail:send"]
    lease = f"/v2/mailboxes/leases/{view['lease_id']}"
    assert (await http.get(lease)).json()["address"] == view["address"]
    assert (await http.get("/v2/messages", params={"mailbox_id": view["mailbox_id"]})).status_code == 200
    assert (await http.post(f"{lease}/renew", json={"ttl_hours": 48})).status_code == 200
    reset = await http.post(f"/v2/mailboxes/accounts/{view['mailbox_id']}/credentials/reset")
    assert reset.json()["webmail_password"]
    assert (await http.post(f"{lease}/release")).status_code == 202


async def test_the_key_cannot_widen_itself(house: House) -> None:
    view, http = await claimed(house)
    owner = Account.create()
    assert (await bind(http, owner)).status_code == 201
    session = await house.agent(owner)
    other = await session.lease()
    wider = [
        {"name": "x", "scopes": ["mail:read"]},
        {"name": "x", "scopes": ["mail:read"], "agent_id": view["agent_id"]},
        {"name": "x", "scopes": ["mail:read"], "agent_id": view["agent_id"], "mailbox_ids": [other["mailbox_id"]]},
        {"name": "x", "scopes": ["mail:read"], "agent_id": session.agent_id, "mailbox_ids": [view["mailbox_id"]]},
        {"name": "x", "scopes": ["billing:pay"], "agent_id": view["agent_id"], "mailbox_ids": [view["mailbox_id"]]},
    ]
    for body in wider:
        assert (await http.post("/v2/api-keys", json=body)).status_code == 403, body
    within = {
        "name": "x",
        "scopes": ["mail:read"],
        "agent_id": view["agent_id"],
        "mailbox_ids": [view["mailbox_id"]],
    }
    assert (await http.post("/v2/api-keys", json=within)).status_code == 201
    assert (await http.get(f"/v2/mailboxes/leases/{other['lease_id']}")).status_code == 404
    assert [each["lease_id"] for each in (await http.get("/v2/mailboxes/leases")).json()["items"]] == [view["lease_id"]]
    lease = {"agent_id": view["agent_id"], "purpose": "more", "ttl_hours": 1}
    assert (await http.post("/v2/mailboxes/leases", json=lease)).status_code == 403
    refused = await bind(http, Account.create())
    assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")
    assert (await http.delete(f"/v2/tenants/wallets/{owner.address}")).status_code == 403


async def test_of_two_first_wallets_bound_at_once_by_the_key_one_is_bound(house: House) -> None:
    for number in range(5):
        view, http = await claimed(house, f"ann-{number}")
        answers = await asyncio.gather(*(bind(http, Account.create()) for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [201, *[403] * 5]
        assert len((await http.get("/v2/auth/me")).json()["wallets"]) == 1
        assert view["tenant_id"]


async def test_a_bound_wallet_signs_in_to_the_claimed_tenant_and_stays(house: House) -> None:
    view, http = await claimed(house)
    wallet = Account.create()
    assert (await bind(http, wallet)).status_code == 201
    session = await house.agent(wallet)
    assert session.session["tenant_id"] == view["tenant_id"]
    assert (await session.http.get(f"/v2/mailboxes/leases/{view['lease_id']}")).json()["address"] == view["address"]
    last = await session.http.delete(f"/v2/tenants/wallets/{wallet.address}")
    assert last.status_code == 409
    assert (await http.get("/v2/auth/me")).status_code == 200


async def test_a_wallet_that_has_a_tenant_is_not_taken_from_it(house: House) -> None:
    _, http = await claimed(house)
    other = await house.agent()
    assert (await bind(http, other.wallet)).status_code == 409


async def test_two_claimed_tenants_do_not_see_each_other(house: House) -> None:
    (one, _), (_, stranger) = await claimed(house, "ann"), await claimed(house, "bob")
    for path in (
        f"/v2/mailboxes/leases/{one['lease_id']}",
        f"/v2/mailboxes/accounts/{one['mailbox_id']}",
        f"/v2/messages?mailbox_id={one['mailbox_id']}",
    ):
        assert (await stranger.get(path)).status_code == 404
    assert (await stranger.post(f"/v2/mailboxes/leases/{one['lease_id']}/release")).status_code == 404
