"""A claim as its three parties see it: the program that asks, the person who decides, the key that comes of it."""

import re
from typing import Any

import httpx

from tests.kit import BASE_URL, House

Claim = dict[str, Any]


def by_token(claim: Claim) -> dict[str, str]:
    return {"authorization": f"Bearer {claim['claim_token']}"}


async def start(house: House, name: str = "my-agent", **more: Any) -> Claim:
    """A fresh claim."""
    async with house.client() as http:
        answer = await http.post("/v2/claims", json={"name": name, **more})
    assert answer.status_code == 201, answer.text
    claim: Claim = answer.json()
    return claim


async def poll(house: House, claim: Claim) -> Claim:
    """The claim as its program sees it now."""
    async with house.client() as http:
        answer = await http.get(f"/v2/claims/{claim['session_id']}", headers=by_token(claim))
    assert answer.status_code == 200, answer.text
    view: Claim = answer.json()
    return view


def form_token(page: str) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', page)
    return found[1] if found else ""


async def press(house: House, claim: Claim, decision: str = "approve") -> httpx.Response:
    """Open the page and press one of its buttons, as a browser would."""
    async with house.client() as browser:
        page = await browser.get(claim["claim_url"])
        form = {"form_token": form_token(page.text), "decision": decision}
        return await browser.post(claim["claim_url"], data=form, headers={"origin": BASE_URL})


async def claimed(house: House, name: str = "my-agent") -> tuple[Claim, httpx.AsyncClient]:
    """An approved claim with its key fetched, and an HTTP client that uses the key."""
    claim = await start(house, name)
    answer = await press(house, claim)
    assert answer.status_code == 303, answer.text
    view = await poll(house, claim)
    return view, house.client({"authorization": f"Bearer {view['api_key']}"})


async def bind(http: httpx.AsyncClient, wallet: Any) -> httpx.Response:
    """Bind a wallet with whatever credential the client uses."""
    from tests.kit import sign

    made = await http.post("/v2/tenants/wallets/challenge", json={"wallet_address": wallet.address})
    assert made.status_code == 200, made.text
    message = made.json()["message"]
    return await http.post("/v2/tenants/wallets", json={"message": message, "signature": sign(wallet, message)})
