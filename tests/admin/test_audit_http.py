"""Searching and exporting the audit log."""

import csv
import io
import json
from typing import Any

import httpx
import pytest

from leasebox.admin import audit_http
from tests.admin.desk import actor, admin, said, tenant_of
from tests.kit import House

AUDIT = "/v2/admin/audit"
EXPORT, CSV = f"{AUDIT}/export.jsonl", f"{AUDIT}/export.csv"


async def rows(http: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    """All pages."""
    found: list[dict[str, Any]] = []
    while True:
        told = await said(await http.get(AUDIT, params={"limit": 2, **params}))
        found += told["items"]
        if told["next_cursor"] is None:
            return found
        params["cursor"] = told["next_cursor"]


async def test_search_by_actor_action_resource_tenant_and_time(run: House, owner: httpx.AsyncClient) -> None:
    agent, other = await run.agent(), await run.agent()
    lease = await agent.lease()
    await other.lease()
    run.clock.advance(minutes=5)
    since = run.clock.now().isoformat()
    freeze = f"/v2/admin/leases/{lease['lease_id']}/freeze"
    await said(await owner.post(freeze, json={"note": "n"}, headers={"x-request-id": "the-request"}))
    everything = await rows(owner)
    assert [each["audit_id"] for each in everything] == sorted((each["audit_id"] for each in everything), reverse=True)
    assert [each["action"] for each in await rows(owner, actor=actor(), since=since)] == ["lease.freeze"]
    assert len(await rows(owner, action="lease.grant")) == 2
    mine = await rows(owner, tenant_id=tenant_of(agent), resource=lease["lease_id"])
    assert [each["action"] for each in mine] == ["lease.freeze", "lease.grant"]
    assert (mine[0]["request_id"], mine[0]["detail"]["note"]) == ("the-request", "n")
    assert [each["action"] for each in await rows(owner, since=since)] == ["lease.freeze"]
    assert len(await rows(owner, until=since)) == len(everything) - 1
    assert await rows(owner, outcome="refused") == []
    assert await rows(owner, actor="agt_nobody") == []


async def test_pages_stay_stable_while_rows_are_added(run: House, owner: httpx.AsyncClient) -> None:
    for _ in range(4):
        await run.agent()
    first = await said(await owner.get(AUDIT, params={"limit": 4}))
    await run.agent()
    rest = await said(await owner.get(AUDIT, params={"limit": 100, "cursor": first["next_cursor"]}))
    ids = [each["audit_id"] for each in first["items"] + rest["items"]]
    assert len(set(ids)) == len(ids) == 10  # prices, the admin's sign-in; each tenant and its session


async def test_an_export_is_all_of_it_however_small_the_batches(
    run: House, owner: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_http, "_BATCH", 3)
    agent = await run.agent()
    for _ in range(4):
        await agent.lease()
    everything = await rows(owner)
    answer = await owner.get(EXPORT)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line) for line in answer.text.splitlines()] == everything
    answer = await owner.get(CSV, params={"action": "lease.grant"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    table = list(csv.DictReader(io.StringIO(answer.text)))
    grants = [each for each in everything if each["action"] == "lease.grant"]
    assert [each["audit_id"] for each in table] == [each["audit_id"] for each in grants]


async def test_a_formula_in_a_cell_is_harmless(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    formula = '=HYPERLINK("http://evil.example","x")'
    headers = {"x-request-id": "=cmd"}
    await said(
        await owner.patch(
            f"/v2/admin/tenants/{tenant_of(agent)}", json={"status": "suspended", "note": formula}, headers=headers
        )
    )
    # An agent chooses what its request ids are, within what the edge lets pass.
    await agent.http.post("/v2/mailboxes/leases", json={}, headers={"x-request-id": "@SUM"})
    text = (await owner.get(CSV)).text
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert "'=cmd" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


async def test_bad_filters(run: House, owner: httpx.AsyncClient) -> None:
    assert (await owner.get(AUDIT, params={"since": "yesterday"})).status_code == 400
    assert (await owner.get(AUDIT, params={"cursor": "x"})).status_code == 400
    for name in ("actor", "action", "resource", "outcome"):
        assert (await owner.get(AUDIT, params={name: "\x00"})).status_code == 400
    assert (await owner.get(AUDIT, params={"tenant_id": "x"})).status_code == 404
    assert (await owner.get(EXPORT, params={"until": ""})).status_code == 400
    assert (await owner.get(EXPORT, params={"until": "0531-10-13T18:17:10Z"})).text == ""


async def test_an_auditor_may(run: House) -> None:
    auditor = await admin(run, "auditor")
    assert [each["action"] for each in await rows(auditor)] == ["admin.sign_in", "prices.publish"]
    assert (await auditor.get(EXPORT)).status_code == 200
