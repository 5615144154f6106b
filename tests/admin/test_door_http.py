"""Every admin route against every role, against strangers, and on an instance without admins."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from leasebox.values.ids import LeaseId, TenantId
from tests.admin.desk import WALLETS, admin, administered, said
from tests.fakes.clock import FakeClock
from tests.kit import House, opened, settings_for

ALL = ("owner", "operator", "auditor", "viewer")
BOOKS = ("owner", "operator", "auditor")
AUDIT = ("owner", "auditor")
STEER = ("owner", "operator")
MONEY = ("owner",)
TENANT, LEASE = "/v2/admin/tenants/{tenant_id}", "/v2/admin/leases/{lease_id}"
INVOICE = "/v2/admin/invoices/{invoice_id}"
DENIED = "/v2/admin/risk/denied-domains/{direction}"
HOUSE_MAIL = "/v2/admin/house-mail/{mail_id}"
ROUTES: dict[tuple[str, str], tuple[str, ...]] = {
    ("GET", "/v2/admin/auth/me"): ALL,
    ("DELETE", "/v2/admin/auth/session"): ALL,
    ("GET", "/v2/admin/overview"): ALL,
    ("GET", "/v2/admin/series"): ALL,
    ("GET", "/v2/admin/health"): ALL,
    ("GET", "/v2/admin/tenants"): ALL,
    ("GET", TENANT): ALL,
    ("PATCH", TENANT): STEER,
    ("PUT", TENANT + "/api-rate"): STEER,
    ("GET", TENANT + "/balance"): BOOKS,
    ("GET", TENANT + "/ledger"): BOOKS,
    ("POST", TENANT + "/grants"): MONEY,
    ("POST", TENANT + "/reversals"): MONEY,
    ("PUT", TENANT + "/credit-limit"): MONEY,
    ("GET", TENANT + "/caps"): BOOKS,
    ("PUT", TENANT + "/caps"): STEER,
    ("GET", "/v2/admin/leases"): ALL,
    ("GET", LEASE): ALL,
    ("POST", LEASE + "/freeze"): STEER,
    ("POST", LEASE + "/unfreeze"): STEER,
    ("POST", LEASE + "/release"): STEER,
    ("GET", "/v2/admin/billing/prices"): ALL,
    ("PUT", "/v2/admin/billing/prices/{meter}"): MONEY,
    ("GET", "/v2/admin/billing/trial-balance"): BOOKS,
    ("GET", "/v2/admin/invoices"): BOOKS,
    ("POST", "/v2/admin/invoices"): STEER,
    ("GET", INVOICE): BOOKS,
    ("POST", INVOICE + "/void"): MONEY,
    ("POST", INVOICE + "/refunds"): MONEY,
    ("GET", "/v2/admin/house-mail"): STEER,
    ("GET", HOUSE_MAIL): STEER,
    ("GET", HOUSE_MAIL + "/raw"): STEER,
    ("POST", "/v2/admin/own-domains/{name}/check"): STEER,
    ("GET", "/v2/admin/send-attempts"): ALL,
    ("POST", "/v2/admin/webhooks/{webhook_id}/enable"): STEER,
    ("POST", "/v2/admin/webhooks/{webhook_id}/replay"): STEER,
    ("POST", "/v2/admin/webhooks/{webhook_id}/retry-dead"): STEER,
    ("GET", "/v2/admin/domains"): ALL,
    ("GET", "/v2/admin/domains/{domain_id}"): ALL,
    ("POST", "/v2/admin/domains/{domain_id}/check"): STEER,
    ("POST", "/v2/admin/domains/{domain_id}/unverify"): STEER,
    ("POST", "/v2/admin/domains/{name}/dkim/rotate"): STEER,
    ("PUT", "/v2/admin/mailboxes/{mailbox_id}/send-limit"): STEER,
    ("GET", "/v2/admin/own-domains"): ALL,
    ("GET", "/v2/admin/send-attempts/{send_attempt_id}"): ALL,
    ("POST", "/v2/admin/send-attempts/{send_attempt_id}/cancel"): STEER,
    ("DELETE", "/v2/admin/suppressions"): STEER,
    ("GET", "/v2/admin/suppressions"): ALL,
    ("GET", "/v2/admin/webhooks"): ALL,
    ("GET", "/v2/admin/webhooks/deliveries"): ALL,
    ("GET", "/v2/admin/webhooks/deliveries/{delivery_id}"): ALL,
    ("POST", "/v2/admin/webhooks/deliveries/{delivery_id}/redeliver"): STEER,
    ("GET", "/v2/admin/webhooks/{webhook_id}"): ALL,
    ("POST", "/v2/admin/webhooks/{webhook_id}/disable"): STEER,
    ("POST", "/v2/admin/webhooks/{webhook_id}/rotate-secret"): STEER,
    ("GET", "/v2/admin/usage/events"): ALL,
    ("GET", "/v2/admin/usage/summary"): ALL,
    ("GET", "/v2/admin/risk/events"): ALL,
    ("GET", "/v2/admin/risk/bursts"): ALL,
    ("GET", DENIED): ALL,
    ("POST", DENIED): STEER,
    ("DELETE", DENIED + "/{domain}"): STEER,
    ("GET", "/v2/admin/risk/rates"): ALL,
    ("PUT", "/v2/admin/risk/rates/{name}"): STEER,
    ("DELETE", "/v2/admin/risk/rates/{name}"): STEER,
    ("GET", "/v2/admin/audit"): AUDIT,
    ("GET", "/v2/admin/audit/export.jsonl"): AUDIT,
    ("GET", "/v2/admin/audit/export.csv"): AUDIT,
    ("GET", "/v2/admin/audit/heads"): AUDIT,
    ("GET", "/v2/admin/audit/verify"): AUDIT,
    ("GET", "/v2/admin/audit/consistency"): AUDIT,
    ("GET", "/v2/admin/audit/{audit_id}/proof"): AUDIT,
}
OPEN = {("POST", "/v2/admin/auth/challenge"), ("POST", "/v2/admin/auth/verify")}


def filled(house: House, path: str) -> str:
    now = house.clock.now()
    names = {
        "{tenant_id}": str(TenantId.new(now)),
        "{lease_id}": str(LeaseId.new(now)),
        "{direction}": "sender",
        "{domain}": "spam.example",
        "{name}": "nothing",
        "{meter}": "nothing",
    }
    for name, value in names.items():
        path = path.replace(name, value)
    return path.replace("{", "").replace("}", "")


async def call(http: httpx.AsyncClient, house: House, method: str, path: str) -> httpx.Response:
    body: Any = {} if method in {"POST", "PUT", "PATCH"} else None
    return await http.request(method, filled(house, path), json=body)


async def described(house: House) -> dict[tuple[str, str], dict[str, Any]]:
    """All operations of the API."""
    paths = (await said(await house.client().get("/openapi.json")))["paths"]
    return {(method.upper(), path): told for path, told_of in paths.items() for method, told in told_of.items()}


async def test_the_table_has_every_route(run: House) -> None:
    routes = {each for each in await described(run) if each[1].startswith("/v2/admin")}
    assert routes == ROUTES.keys() | OPEN


@pytest.mark.parametrize("role", ALL)
async def test_every_route_against_a_role(run: House, role: str) -> None:
    http = await admin(run, role)
    last = ("DELETE", "/v2/admin/auth/session")
    for method, path in [*(each for each in ROUTES if each != last), last]:
        answer = await call(http, run, method, path)
        allowed = role in ROUTES[method, path]
        assert (answer.status_code != 403) is allowed, (role, method, path, answer.text)
        assert answer.status_code != 401
        assert answer.status_code < 500, answer.text
        if not allowed:
            assert answer.json()["error"] == "forbidden"
            assert answer.json()["roles"] == list(ROUTES[method, path])


async def test_the_description_names_the_roles_and_the_tag(run: House) -> None:
    for route, told in (await described(run)).items():
        if route in ROUTES:
            assert told["responses"]["403"]["description"] == f"Forbidden: for the roles {', '.join(ROUTES[route])}"
            assert told["security"] == [{"admin": []}]
        if route[1].startswith("/v2/admin"):
            assert told["tags"] == ["Admin"]


@pytest.mark.parametrize("token", ["", "Bearer lba_" + "x" * 43, "Bearer x", "tenant", "key"])
async def test_no_route_lets_a_stranger_in(run: House, token: str) -> None:
    agent = await run.agent()
    if token == "tenant":
        token = str(agent.http.headers["authorization"])
    if token == "key":
        made = await agent.http.post("/v2/api-keys", json={"name": "k", "scopes": ["billing:read"]})
        token = f"Bearer {(await said(made, 201))['api_key']}"
    http = run.client({"authorization": token} if token else None)
    for method, path in ROUTES:
        answer = await call(http, run, method, path)
        assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized"), (method, path)


async def test_an_admin_is_no_tenant(run: House) -> None:
    http = await admin(run)
    seen = 0
    for (method, path), told in (await described(run)).items():
        if not path.startswith("/v2/admin") and told.get("security") == [{"bearer": []}]:
            answer = await call(http, run, method, path)
            assert answer.status_code == 401, (method, path, answer.text)
            seen += 1
    assert seen > 30


async def test_every_route_is_closed_when_nobody_is_listed(database_url: str, redis_url: str, tmp_path: Path) -> None:
    async with administered(database_url, redis_url, tmp_path) as house:
        token = (await admin(house)).headers["authorization"]
    async with opened(settings_for(database_url, redis_url, str(tmp_path)), FakeClock()) as house:
        for http in (house.client(), house.client({"authorization": token})):
            for method, path in [*ROUTES, *OPEN]:
                answer = await call(http, house, method, path)
                assert (answer.status_code, answer.json()["error"]) == (403, "forbidden"), (method, path)
                assert "LEASEBOX_ADMIN_WALLETS" in answer.json()["fix"]


async def test_a_revoked_session_is_refused_by_another_process_at_once(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with (
        administered(database_url, redis_url, tmp_path) as one,
        administered(database_url, redis_url, tmp_path) as other,
    ):
        http = await admin(one)
        elsewhere = other.client({"authorization": http.headers["authorization"]})
        assert (await elsewhere.get("/v2/admin/overview")).status_code == 200
        assert (await http.delete("/v2/admin/auth/session")).status_code == 204
        assert (await elsewhere.get("/v2/admin/overview")).status_code == 401


async def test_no_answer_holds_a_secret(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    lease = await agent.lease()
    key = await said(await agent.http.post("/v2/api-keys", json={"name": "k", "scopes": ["mail:read"]}), 201)
    secrets = (lease["webmail_password"], key["api_key"], agent.session["access_token"])
    fill = {"{tenant_id}": agent.session["tenant_id"], "{lease_id}": lease["lease_id"]}
    text = ""
    for method, path in ROUTES:
        if method == "GET":
            known = path
            for name, value in fill.items():
                known = known.replace(name, value)
            params = {"figure": "leases"} if "series" in path else None
            text = (await owner.get(filled(run, known), params=params)).text
            assert not [each for each in secrets if each in text], path
            assert "hash" not in text.replace("root_hash", ""), path
    assert WALLETS["owner"].key.hex() not in text
