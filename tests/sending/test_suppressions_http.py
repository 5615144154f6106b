"""Suppressions over HTTP: seen, made and lifted by whoever has the whole tenant."""

import pytest

from tests.kit import House
from tests.kit_mail import shared_house
from tests.sending.writing_desk import Writer

__all__ = ["shared_house"]
PATH = "/v2/suppressions"


@pytest.fixture
async def ann(shared_house: House) -> Writer:
    return await Writer.new(shared_house)


async def test_an_address_is_suppressed_seen_and_lifted(ann: Writer) -> None:
    made = await ann.http.post(PATH, json={"address": "Bob <Bob+Shop@Bücher.Example>", "detail": "asked us to stop"})
    assert (made.status_code, made.json()["reason"], made.json()["send_attempt_id"]) == (201, "manual", None)
    address = made.json()["address"]
    assert address == "bob+shop@xn--bcher-kva.example"
    again = await ann.http.post(PATH, json={"address": address, "detail": "another"})
    assert (again.status_code, again.json()) == (201, made.json())
    assert (await ann.http.get(PATH)).json()["items"] == [made.json()]
    assert (await ann.ask("bob+SHOP@bücher.example")).status_code == 422
    await ann.send("bob@bücher.example")
    for query, count in (
        ({"address": "BOB+shop@bücher.example"}, 1),
        ({"address": "bob@bücher.example"}, 0),
        ({"reason": "manual"}, 1),
        ({"reason": "complaint"}, 0),
    ):
        assert len((await ann.http.get(PATH, params=query)).json()["items"]) == count
    assert (await ann.http.delete(PATH, params={"address": "Bob+shop@bücher.example"})).status_code == 204
    assert (await ann.http.delete(PATH, params={"address": address})).status_code == 404
    await ann.send(address)


async def test_the_same_key_gives_the_first_answer_again(ann: Writer) -> None:
    order, key = {"address": "x@a.example", "detail": "one"}, {"idempotency-key": f"stop-{ann.box}"}
    made = await ann.http.post(PATH, json=order, headers=key)
    await ann.http.delete(PATH, params={"address": "x@a.example"})
    again = await ann.http.post(PATH, json=order, headers=key)
    assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (201, made.json(), "true")
    assert (await ann.http.get(PATH)).json()["items"] == [], "and nothing was done again"
    other = await ann.http.post(PATH, json={**order, "detail": "two"}, headers=key)
    assert (other.status_code, other.json()["error"]) == (409, "idempotency_mismatch")


async def test_what_is_no_address_is_refused(ann: Writer) -> None:
    assert (await ann.http.post(PATH, json={"address": "nobody"})).status_code == 422
    assert (await ann.http.post(PATH, json={"address": "a@b.example", "more": 1})).status_code == 400
    for query in ({}, {"address": "no"}, {"address": "a\nb@c.example"}, {"address": "nobody"}):
        assert (await ann.http.delete(PATH, params=query)).status_code == 400
    assert (await ann.http.get(PATH, params={"address": "nobody"})).status_code == 400


async def test_a_tenant_lifts_nothing_of_another(ann: Writer, shared_house: House) -> None:
    bob = await Writer.new(shared_house)
    await ann.http.post(PATH, json={"address": "x@a.example"})
    assert (await bob.http.delete(PATH, params={"address": "x@a.example"})).status_code == 404
    assert (await bob.http.get(PATH)).json()["items"] == []


async def test_a_key_for_some_mailboxes_has_no_say(ann: Writer) -> None:
    order = {"name": "one", "scopes": ["mail:read", "mail:send"], "mailbox_ids": [ann.box]}
    key = (await ann.http.post("/v2/api-keys", json=order)).json()["api_key"]
    async with ann.house.client({"authorization": f"Bearer {key}"}) as http:
        assert (await http.get(PATH)).status_code == 403
        assert (await http.post(PATH, json={"address": "x@a.example"})).status_code == 403
        assert (await http.delete(PATH, params={"address": "x@a.example"})).status_code == 403
