"""Admins sign in with listed wallets, and with nothing that a tenant has."""

import asyncio
from pathlib import Path

import pytest
from eth_account import Account

from tests.admin.desk import CHALLENGE, LISTED, VERIFY, WALLETS, admin, administered, ask_admin, said
from tests.fakes.clock import FakeClock
from tests.kit import House, opened, settings_for, sign


async def test_an_admin_signs_in_and_out(run: House) -> None:
    http = await admin(run, "auditor")
    me = await said(await http.get("/v2/admin/auth/me"))
    assert (me["wallet_address"], me["role"]) == (WALLETS["auditor"].address, "auditor")
    assert me["rights"] == ["look", "books", "audit"]
    assert (await http.delete("/v2/admin/auth/session")).status_code == 204
    assert (await http.get("/v2/admin/auth/me")).status_code == 401
    actions = await run.db.read(
        lambda tx: tx.all("SELECT action FROM audit_rows WHERE action LIKE 'admin.%' ORDER BY id")
    )
    assert [row["action"] for row in actions] == ["admin.sign_in", "admin.sign_out"]


async def test_the_message_says_what_it_is_for(run: House) -> None:
    wallet = WALLETS["owner"]
    async with run.client() as http:
        admins = (await said(await http.post(CHALLENGE, json={"wallet_address": wallet.address})))["message"]
        tenants = (await said(await http.post("/v2/auth/siwe/challenge", json={"wallet_address": wallet.address})))[
            "message"
        ]
    assert "ADMINISTER" in admins
    assert "ADMINISTER" not in tenants


@pytest.mark.parametrize(("asked", "sent"), [(CHALLENGE, "/v2/auth/siwe/verify"), ("/v2/auth/siwe/challenge", VERIFY)])
async def test_a_challenge_is_good_for_its_own_door_only(run: House, asked: str, sent: str) -> None:
    wallet = WALLETS["owner"]
    async with run.client() as http:
        message = (await said(await http.post(asked, json={"wallet_address": wallet.address})))["message"]
        refused = await http.post(sent, json={"message": message, "signature": sign(wallet, message)})
    assert (refused.status_code, refused.json()["reason"]) == (401, "message")


async def test_a_wallet_that_is_not_listed_is_refused_and_written_down(run: House) -> None:
    stranger = Account.create()
    async with run.client() as http:
        refused = await ask_admin(http, stranger)
    assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")
    row = await run.db.read(lambda tx: tx.one("SELECT actor, outcome FROM audit_rows WHERE action = 'admin.sign_in'"))
    assert row is not None
    assert (row["actor"], row["outcome"]) == (f"wallet:{stranger.address.lower()}", "refused")


async def test_a_nonce_is_good_once(run: House) -> None:
    wallet = WALLETS["owner"]
    async with run.client() as http:
        message = (await said(await http.post(CHALLENGE, json={"wallet_address": wallet.address})))["message"]
        body = {"message": message, "signature": sign(wallet, message)}
        answers = await asyncio.gather(*(http.post(VERIFY, json=body) for _ in range(20)))
    assert sorted(each.status_code for each in answers) == [200] + [401] * 19


async def test_a_session_ends_after_an_hour(run: House) -> None:
    http = await admin(run)
    run.clock.advance(minutes=59)
    assert (await http.get("/v2/admin/auth/me")).status_code == 200
    run.clock.advance(minutes=2)
    assert (await http.get("/v2/admin/auth/me")).status_code == 401


async def test_the_token_is_stored_hashed(run: House) -> None:
    http = await admin(run)
    token = http.headers["authorization"].removeprefix("Bearer ")
    assert token.startswith("lba_")
    row = await run.db.read(lambda tx: tx.one("SELECT row_to_json(s)::text AS row, token_hash FROM admin_sessions s"))
    assert row is not None
    assert token not in row["row"]
    assert len(row["token_hash"]) == 32


async def test_a_wallet_that_leaves_the_list_loses_its_session_at_once(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with administered(database_url, redis_url, tmp_path) as house:
        token = (await admin(house, "operator")).headers["authorization"]
    kept = ",".join(each for each in LISTED.split(",") if not each.endswith(":operator"))
    async with administered(database_url, redis_url, tmp_path, LEASEBOX_ADMIN_WALLETS=kept) as house:
        refused = await house.client({"authorization": token}).get("/v2/admin/auth/me")
    assert refused.status_code == 401


async def test_a_role_that_was_lowered_is_lower_at_once(database_url: str, redis_url: str, tmp_path: Path) -> None:
    async with administered(database_url, redis_url, tmp_path) as house:
        token = (await admin(house, "owner")).headers["authorization"]
    lowered = f"{WALLETS['owner'].address}:viewer"
    async with administered(database_url, redis_url, tmp_path, LEASEBOX_ADMIN_WALLETS=lowered) as house:
        http = house.client({"authorization": token})
        assert (await said(await http.get("/v2/admin/auth/me")))["role"] == "viewer"
        assert (await http.get("/v2/admin/billing/trial-balance")).status_code == 403


async def test_sign_ins_are_limited_per_client_address(database_url: str, redis_url: str, tmp_path: Path) -> None:
    wallet = WALLETS["owner"].address
    async with administered(database_url, redis_url, tmp_path, LEASEBOX_SIGNIN_RATE="3/h") as house:
        http = house.client(address="192.0.2.77")
        answers = [await http.post(CHALLENGE, json={"wallet_address": wallet}) for _ in range(5)]
        assert [each.status_code for each in answers] == [200, 200, 200, 429, 429]
        assert answers[-1].headers["retry-after"]


async def test_guesses_of_tokens_are_limited_per_client_address(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with administered(database_url, redis_url, tmp_path, LEASEBOX_API_RATE="4/h") as house:
        http = house.client({"authorization": "Bearer lba_" + "x" * 43}, address="192.0.2.78")
        answers = [await http.get("/v2/admin/auth/me") for _ in range(6)]
        assert [each.status_code for each in answers] == [401] * 4 + [429] * 2


async def test_closed_when_nobody_is_listed(database_url: str, redis_url: str, tmp_path: Path) -> None:
    async with opened(settings_for(database_url, redis_url, str(tmp_path)), FakeClock()) as house:
        answer = await house.client().post(CHALLENGE, json={"wallet_address": WALLETS["owner"].address})
    assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
    assert "LEASEBOX_ADMIN_WALLETS" in answer.json()["fix"]
