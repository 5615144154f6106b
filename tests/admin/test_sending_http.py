"""Sending as admins see it: all tenants' attempts and suppressions; taking back, lifting and limiting, written down."""

from typing import Any

import httpx
import pytest

from tests.admin.desk import actor, admin, audited, said, tenant_of
from tests.kit import House
from tests.sending.writing_desk import ELSEWHERE, Writer

ATTEMPTS, SUPPRESSIONS = "/v2/admin/send-attempts", "/v2/admin/suppressions"


async def listed(http: httpx.AsyncClient, path: str, **query: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await said(await http.get(path, params=query)))["items"]
    return items


async def test_attempts_of_all_tenants_are_seen(run: House, owner: httpx.AsyncClient) -> None:
    ann, bob = await Writer.new(run), await Writer.new(run)
    one, two = await ann.send(), await bob.send([ELSEWHERE, "b@other.example"])
    found = await listed(owner, ATTEMPTS)
    assert [each["send_attempt_id"] for each in found] == [two["send_attempt_id"], one["send_attempt_id"]]
    assert (found[1]["tenant_id"], found[1]["actor"]) == (tenant_of(ann.agent), ann.agent.agent_id)
    for query, wanted in (
        ({"tenant_id": tenant_of(ann.agent)}, [one]),
        ({"mailbox_id": bob.box}, [two]),
        ({"state": "sent"}, []),
    ):
        narrowed = await listed(owner, ATTEMPTS, **query)
        assert [each["send_attempt_id"] for each in narrowed] == [each["send_attempt_id"] for each in wanted]
    whole = await said(await owner.get(f"{ATTEMPTS}/{two['send_attempt_id']}"))
    assert (len(whole["recipients"]), len(whole["hops"]), whole["tenant_id"]) == (2, 2, tenant_of(bob.agent))
    assert "Hello there" not in str(whole)
    await said(await owner.get(f"{ATTEMPTS}/snd_01jc7rbt4zfz8v4q5d6g7h8j9k"), 404)


async def test_an_admin_takes_a_message_back(run: House, owner: httpx.AsyncClient) -> None:
    ann = await Writer.new(run)
    path = f"{ATTEMPTS}/{(await ann.send())['send_attempt_id']}/cancel"
    view = await said(await owner.post(path, json={"note": "spam"}))
    assert (view["state"], view["recipients"][0]["state"]) == ("cancelled", "cancelled")
    await said(await owner.post(path, json={}), 409)
    (row,) = await audited(run, action="send.cancel")
    assert (row["actor"], row["detail"], str(row["tenant_id"]) != "None") == (
        *(actor(), {"note": "spam", "recipients": 1}),
        True,
    )


async def test_suppressions_of_all_tenants_are_seen_and_lifted(run: House, owner: httpx.AsyncClient) -> None:
    ann, bob = await Writer.new(run), await Writer.new(run)
    for writer in (ann, bob):
        await writer.http.post("/v2/suppressions", json={"address": ELSEWHERE})
    assert [each["tenant_id"] for each in await listed(owner, SUPPRESSIONS, address=ELSEWHERE)] == [
        tenant_of(bob.agent),
        tenant_of(ann.agent),
    ]
    assert len(await listed(owner, SUPPRESSIONS, tenant_id=tenant_of(ann.agent), reason="manual")) == 1
    query = {"tenant_id": tenant_of(ann.agent), "address": ELSEWHERE}
    assert (await owner.delete(SUPPRESSIONS, params=query)).status_code == 204
    assert (await owner.delete(SUPPRESSIONS, params=query)).status_code == 404
    await ann.send()
    assert (await bob.ask()).status_code == 422
    (row,) = await audited(run, action="suppression.lift")
    assert (row["resource"], row["detail"]) == (ELSEWHERE, {"reason": "manual"})


async def test_a_mailbox_is_limited_at_once(run: House, owner: httpx.AsyncClient) -> None:
    ann = await Writer.new(run)
    path = f"/v2/admin/mailboxes/{ann.box}/send-limit"
    assert (await owner.put(path, json={"daily_send_limit": 1, "note": "new"})).status_code == 204
    await ann.send()
    assert (await ann.ask()).status_code == 429
    assert (await ann.account())["daily_send_limit"] == 1
    assert (await owner.put(path, json={"daily_send_limit": None})).status_code == 204
    await ann.send()
    rows = await audited(run, action="mailbox.limit_sends")
    assert [row["detail"] for row in rows] == [
        {"daily_send_limit": 1, "note": "new"},
        {"daily_send_limit": None, "note": ""},
    ]
    for wrong in ({"daily_send_limit": -1}, {}, {"daily_send_limit": "5"}):
        await said(await owner.put(path, json=wrong), 400)
    await said(await owner.put(path.replace(ann.box[-5:], "zzzzz"), json={"daily_send_limit": 1}), 404)


@pytest.mark.parametrize("role", ["auditor", "viewer"])
async def test_who_only_looks_changes_nothing(run: House, role: str) -> None:
    ann = await Writer.new(run)
    told = await ann.send()
    await ann.http.post("/v2/suppressions", json={"address": "x@a.example"})
    http = await admin(run, role)
    assert len(await listed(http, ATTEMPTS)) == len(await listed(http, SUPPRESSIONS)) == 1
    await said(await http.post(f"{ATTEMPTS}/{told['send_attempt_id']}/cancel", json={}), 403)
    query = {"tenant_id": tenant_of(ann.agent), "address": "x@a.example"}
    await said(await http.delete(SUPPRESSIONS, params=query), 403)
    await said(await http.put(f"/v2/admin/mailboxes/{ann.box}/send-limit", json={"daily_send_limit": 1}), 403)
