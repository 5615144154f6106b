"""The approval page over HTTP: looking changes nothing, only its own form decides, every refusal is a page."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from leasebox.pages.frame import FORM_POLICY
from tests.claiming import form_token, poll, press, start
from tests.fakes.clock import FakeClock
from tests.kit import BASE_URL, House, opened, settings_for

OURS = {"origin": BASE_URL}


async def status(house: House, claim: dict[str, Any]) -> str:
    return str((await poll(house, claim))["status"])


async def test_the_page_shows_the_claim_and_can_do_nothing_else(house: House) -> None:
    claim = await start(house, "ann")
    async with house.client() as browser:
        page = await browser.get(claim["claim_url"])
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "ann@inbox.leasebox.test" in page.text
    assert page.headers["content-security-policy"] == FORM_POLICY
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-robots-tag"] == "noindex"
    assert page.headers["x-frame-options"] == "DENY"
    cookie = page.headers["set-cookie"]
    for part in ("claim_form=", "HttpOnly", "SameSite=strict", "Path=/claims", "Max-Age=1800"):
        assert part in cookie
    assert "secure" not in cookie.lower()


async def test_looking_changes_nothing_however_often(house: House) -> None:
    """What a chat's link preview, a scanner or a browser's prefetch does to the link."""
    claim = await start(house)
    before = await house.db.read(lambda tx: tx.all("SELECT c::text FROM claims c"))
    async with house.client({"user-agent": "Slackbot-LinkExpanding 1.0"}) as robot:
        for query in ("", "?decision=approve", "?form_token=x&decision=approve"):
            assert (await robot.get(claim["claim_url"] + query)).status_code == 200
        assert (await robot.options(claim["claim_url"])).status_code == 204
        for method in ("HEAD", "PUT", "DELETE", "PATCH"):
            assert (await robot.request(method, claim["claim_url"])).status_code == 405
    assert await house.db.read(lambda tx: tx.all("SELECT c::text FROM claims c")) == before
    assert await house.db.read(lambda tx: tx.value("SELECT count(*) FROM tenants")) == 0


@pytest.mark.parametrize(("decision", "outcome"), [("approve", "approved"), ("decline", "declined")])
async def test_a_button_decides_and_leads_back_to_the_page(house: House, decision: str, outcome: str) -> None:
    claim = await start(house)
    answer = await press(house, claim, decision)
    assert (answer.status_code, BASE_URL + answer.headers["location"]) == (303, claim["claim_url"])
    async with house.client() as browser:
        assert outcome in (await browser.get(claim["claim_url"])).text.lower()
    assert await status(house, claim) == outcome


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"origin": BASE_URL}, 303),
        ({"origin": BASE_URL, "sec-fetch-site": "same-origin"}, 303),
        ({"origin": "null", "sec-fetch-site": "same-origin"}, 303),
        ({"sec-fetch-site": "same-origin"}, 303),
        ({}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://leasebox.test.evil.example"}, 403),
        ({"origin": "https://leasebox.test"}, 403),
        ({"origin": "http://leasebox.test:8080"}, 403),
        ({"origin": "https://evil.example", "sec-fetch-site": "same-origin"}, 403),
        ({"origin": "null", "sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
    ],
)
async def test_only_our_own_page_may_send_the_form(house: House, headers: dict[str, str], code: int) -> None:
    claim = await start(house)
    async with house.client() as browser:
        page = await browser.get(claim["claim_url"])
        form = {"form_token": form_token(page.text), "decision": "approve"}
        assert (await browser.post(claim["claim_url"], data=form, headers=headers)).status_code == code
    assert await status(house, claim) == ("approved" if code == 303 else "pending")


async def test_a_form_needs_its_token_and_its_browsers_cookie(house: House) -> None:
    claim, other = await start(house, "ann"), await start(house, "bob")
    async with house.client() as browser, house.client() as stranger:
        token = form_token((await browser.get(claim["claim_url"])).text)
        foreign = form_token((await browser.get(other["claim_url"])).text)
        elsewhere = form_token((await stranger.get(claim["claim_url"])).text)
        for form in (
            {},
            {"decision": "approve"},
            {"decision": "approve", "form_token": ""},
            {"decision": "approve", "form_token": foreign},
            {"decision": "approve", "form_token": elsewhere},
            {"decision": "approve", "form_token": "é"},
            {"decision": "perhaps", "form_token": token},
            {"decision": "approve", "form_token": token, "filler": "x" * 5000},
        ):
            answer = await browser.post(claim["claim_url"], data=form, headers=OURS)
            assert answer.status_code == 403, form
            assert answer.headers["content-security-policy"] == FORM_POLICY
        async with house.client() as bare:
            form = {"decision": "approve", "form_token": token}
            assert (await bare.post(claim["claim_url"], data=form, headers=OURS)).status_code == 403
            bare.cookies.set("claim_form", "short")
            assert (await bare.post(claim["claim_url"], data=form, headers=OURS)).status_code == 403
        assert await status(house, claim) == "pending"
        for raw in (b"\xff\xfe", b"&" * 4000, b'{"decision":"approve"}'):
            assert (await browser.post(claim["claim_url"], content=raw, headers=OURS)).status_code == 403
        again = await browser.get(claim["claim_url"])
        assert form_token(again.text) == token
        assert (await browser.post(claim["claim_url"], data=form, headers=OURS)).status_code == 303


async def test_pressing_again_changes_nothing(house: House) -> None:
    claim = await start(house)
    async with house.client() as browser:
        form = {"form_token": form_token((await browser.get(claim["claim_url"])).text), "decision": "approve"}
        answers = await asyncio.gather(*(browser.post(claim["claim_url"], data=form, headers=OURS) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {303}
        late = await browser.post(claim["claim_url"], data=form | {"decision": "decline"}, headers=OURS)
    assert late.status_code == 409
    assert "Decided already" in late.text
    assert await house.db.read(lambda tx: tx.value("SELECT count(*) FROM tenants")) == 1
    assert await status(house, claim) == "approved"


async def test_a_form_that_comes_too_late_says_so(house: House) -> None:
    claim = await start(house)
    async with house.client() as browser:
        form = {"form_token": form_token((await browser.get(claim["claim_url"])).text), "decision": "approve"}
        house.clock.advance(minutes=30)
        answer = await browser.post(claim["claim_url"], data=form, headers=OURS)
        assert answer.status_code == 409
        assert "Too late" in (await browser.get(claim["claim_url"])).text
    assert await house.db.read(lambda tx: tx.value("SELECT count(*) FROM tenants")) == 0


async def test_a_name_taken_meanwhile_ends_the_claim(house: House) -> None:
    claim = await start(house, "ann")
    await (await house.agent()).lease(local_part="ann")
    assert (await press(house, claim)).status_code == 303
    async with house.client() as browser:
        assert "taken by somebody else" in (await browser.get(claim["claim_url"])).text
    view = await poll(house, claim)
    assert (view["status"], view["reason"], view["api_key"]) == ("declined", "address_taken", None)


@pytest.mark.parametrize("link", ["x", "0" * 40, "0" * 39, "a" * 300])
async def test_a_link_that_leads_nowhere_is_a_page_too(house: House, link: str) -> None:
    async with house.client() as browser:
        for answer in (
            await browser.get(f"/claims/{link}"),
            await browser.post(f"/claims/{link}", data={"decision": "approve"}, headers=OURS),
        ):
            assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
            assert "No such claim" in answer.text


async def test_the_secrets_of_the_program_open_no_page(house: House) -> None:
    claim = await start(house)
    async with house.client() as browser:
        for secret in (claim["session_id"], claim["claim_token"]):
            answer: httpx.Response = await browser.get(f"/claims/{secret}")
            assert answer.status_code == 404


async def test_approving_is_limited_per_client_address(database_url: str, redis_url: str, tmp_path: Path) -> None:
    settings = settings_for(database_url, redis_url, str(tmp_path), LEASEBOX_TENANT_RATE="1/h")
    async with opened(settings, FakeClock()) as house:
        made = [await start(house, f"a{number}") for number in range(2)]
        async with house.client(address="192.0.2.151") as browser:
            answers = []
            for claim in made:
                token = form_token((await browser.get(claim["claim_url"])).text)
                form = {"form_token": token, "decision": "approve"}
                answers.append(await browser.post(claim["claim_url"], data=form, headers=OURS))
        assert [answer.status_code for answer in answers] == [303, 429]
        assert int(answers[1].headers["retry-after"]) >= 1
        assert "Too many" in answers[1].text


@pytest.mark.parametrize(
    ("public_url", "origin"),
    [
        ("https://box.example", "https://box.example"),
        ("https://box.example:443", "https://box.example"),
        ("http://box.example:80", "http://box.example"),
        ("https://box.example:8443", "https://box.example:8443"),
    ],
)
async def test_behind_tls_the_cookie_is_secure_and_the_origin_is_the_public_one(
    database_url: str, redis_url: str, tmp_path: Path, public_url: str, origin: str
) -> None:
    settings = settings_for(database_url, redis_url, str(tmp_path), LEASEBOX_PUBLIC_URL=public_url)
    async with opened(settings, FakeClock()) as house:
        claim = await start(house)
        path = claim["claim_url"].removeprefix(public_url)
        async with house.client() as browser:
            page = await browser.get(path)
            cookie = page.headers["set-cookie"]
            assert ("secure" in cookie.lower()) == public_url.startswith("https")
            headers = {"origin": origin, "cookie": cookie.partition(";")[0]}
            form = {"form_token": form_token(page.text), "decision": "approve"}
            assert (await browser.post(path, data=form, headers={**headers, "origin": BASE_URL})).status_code == 403
            assert (await browser.post(path, data=form, headers=headers)).status_code == 303
