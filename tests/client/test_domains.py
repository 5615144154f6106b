"""The client's verbs of domains."""

import json
from typing import Any

import pytest

from leasebox.client import ApiError, Client
from tests.client.fake_server import URL, Answer, FakeServer, problem

PATH = "/v2/domains"
DOMAIN: dict[str, Any] = {
    "domain_id": "dom_01",
    "domain": "acme.test",
    "status": "pending",
    "reason": None,
    "records": [
        {
            "purpose": "mx",
            "type": "MX",
            "name": "acme.test",
            "value": "mx.box.example",
            "priority": 10,
            "required": True,
            "state": "wrong",
            "seen": ["5 evil\u202e.test"],
            "keep_until": None,
        },
        {
            "purpose": "spf",
            "type": "TXT",
            "name": "acme.test",
            "value": "v=spf1 a:mx.box.example ~all",
            "priority": None,
            "required": False,
            "state": "found",
            "seen": [],
            "keep_until": None,
        },
    ],
    "created_at": "2026-11-20T10:00:00Z",
    "checked_at": None,
    "verified_at": None,
    "missing_since": None,
    "added_by_a_newer_server": 1,
}


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def box(server: FakeServer) -> Client:
    return Client(URL, server.issue(), http=server.http(), sleep=lambda _: None)


def test_a_domain_is_added_looked_at_verified_and_removed(server: FakeServer, box: Client) -> None:
    server.script["POST", PATH] = [Answer(201, json=DOMAIN)]
    server.script["GET", f"{PATH}/dom_01"] = [Answer(200, json=DOMAIN)]
    server.script["POST", f"{PATH}/dom_01/verify"] = [Answer(200, json=DOMAIN | {"status": "verified"})]
    server.script["GET", f"{PATH}/dom_01/zone-file"] = [Answer(200, text="; zone\n")]
    server.script["DELETE", f"{PATH}/dom_01"] = [Answer(204)]
    made = box.domains.add("acme.test")
    assert json.loads(server.calls[-1].content) == {"domain": "acme.test"}
    assert (made.domain, made.status, made.records[0].priority, made.records[1].required) == (
        "acme.test",
        "pending",
        10,
        False,
    )
    assert box.domains.get("dom_01") == made
    assert box.domains.verify("dom_01").status == "verified"
    assert box.domains.zone_file("dom_01") == "; zone\n"
    box.domains.remove("dom_01")
    assert server.paths()[-1] == f"DELETE {PATH}/dom_01"


def test_all_pages_are_walked(server: FakeServer, box: Client) -> None:
    other = DOMAIN | {"domain_id": "dom_02"}
    server.script["GET", PATH] = [
        Answer(200, json={"items": [DOMAIN], "next_cursor": "c"}),
        Answer(200, json={"items": [other], "next_cursor": None}),
    ]
    assert [each.domain_id for each in box.domains] == ["dom_01", "dom_02"]
    assert dict(server.calls[-1].url.params) == {"limit": "100", "cursor": "c"}


def test_a_refusal_is_told_and_an_id_cannot_leave_its_path(server: FakeServer, box: Client) -> None:
    server.script["POST", PATH] = [problem(409, "conflict", reason="domain_exists")]
    with pytest.raises(ApiError) as refused:
        box.domains.add("acme.test")
    assert refused.value.error == "conflict"
    with pytest.raises(ApiError):
        box.domains.remove("../agents")
    assert server.calls[-1].url.raw_path == b"/v2/domains/..%2Fagents"
