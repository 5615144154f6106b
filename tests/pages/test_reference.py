"""The API reference shows every operation, harmlessly."""

import re
from html import unescape
from typing import Any

import pytest
from litestar import Litestar

from leasebox.identity.http import SignInRoutes, WalletRoutes
from leasebox.identity.keys_http import AgentRoutes, KeyRoutes
from leasebox.leases.http import LeaseRoutes
from leasebox.mail.http import MessageRoutes
from leasebox.pages.reference import operations, reference_page

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    routes = [SignInRoutes, WalletRoutes, AgentRoutes, KeyRoutes, LeaseRoutes, MessageRoutes]
    return Litestar(routes, dependencies={"caller": provide}).openapi_schema.to_schema()


async def provide() -> Any:
    return None


def test_every_operation_is_shown(ours: dict[str, Any]) -> None:
    page = reference_page(ours, "https://box.example")
    found = list(operations(ours))
    assert len(found) > 20
    assert len(re.findall(r'<details class="operation"', page)) == len(found)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert {each.anchor for each in found} <= set(ids)
    assert {unescape(link) for link in re.findall(r'href="#([^"]+)"', page)} <= {unescape(each) for each in ids}


def test_an_operation_says_what_it_needs(ours: dict[str, Any]) -> None:
    page = reference_page(ours, "https://box.example")
    allocate = page.partition('id="allocate"')[2].partition('<details class="operation"')[0]
    assert "needs a token" in allocate.partition("</summary>")[0]
    assert "<code>ttl_hours</code> <span class=must>required</span>" in allocate
    assert "1 to 720" in allocate
    assert '<a href="#schema-NewLeaseView">' in allocate
    assert unescape(allocate).count("https://box.example/v2/mailboxes/leases") == 1
    assert '"ttl_hours":1' in unescape(allocate)
    challenge = page.partition('id="challenge"')[2].partition("</summary>")[0]
    assert "needs a token" not in challenge


def test_hostile_words_stay_words() -> None:
    description = {
        "info": {"description": HOSTILE},
        "paths": {
            f"/x{HOSTILE}": {
                "post": {
                    "operationId": HOSTILE,
                    "tags": [HOSTILE],
                    "description": f"{HOSTILE}\n\n{HOSTILE}",
                    "security": [{"bearer": []}],
                    "parameters": [{"name": HOSTILE, "in": "query", "required": True, "schema": {"type": HOSTILE}}],
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/X"}}}},
                    "responses": {HOSTILE: {"description": HOSTILE}, "400": {}},
                }
            }
        },
        "components": {
            "schemas": {
                "X": {"title": HOSTILE, "description": HOSTILE, "properties": {HOSTILE: {"default": HOSTILE}}},
            }
        },
    }
    page = reference_page(description, "https://box.example")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("description", [{}, {"paths": {"/x": {"get": {}}}}])
def test_a_bare_description_is_a_page(description: dict[str, Any]) -> None:
    assert "<h1" in reference_page(description, "https://box.example")


def test_events_are_shown_with_their_examples() -> None:
    told = {"type": HOSTILE, "data": {}}
    content = {"application/json": {"example": told}}
    webhooks = {f"x.{HOSTILE}": {"post": {"description": "It happened.", "requestBody": {"content": content}}}}
    description = {
        "paths": {"/x": {"get": {"tags": ["Events"], "operationId": "x"}}},
        "tags": [{"name": "Events", "description": "All that happens."}],
        "webhooks": webhooks,
    }
    page = reference_page(description, "https://box.example")
    assert "It happened." in page
    assert "All that happens." in page
    assert HOSTILE not in page
    assert unescape(page).count(HOSTILE) == 2
