"""What the actors of a campaign share: the instance, the journal, the mailboxes that live, clients that note all."""

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from typing import Any

import httpx
import msgspec
from eth_account import Account
from eth_account.signers.local import LocalAccount

from tests.faults.journal import Journal
from tests.faults.machine import Machine
from tests.faults.outside import Outside
from tests.kit import sign

LEASES, MESSAGES, PROOF = "/v2/mailboxes/leases", "/v2/messages", "/v2/payments/proof"
SEND = f"{MESSAGES}/send"
HANGS_S = 30.0


class Box(msgspec.Struct):
    """A leased mailbox, as its lessee was told of it. password: "" where nobody needs it."""

    address: str
    mailbox_id: str
    lease_id: str
    tenant_id: str
    password: str = ""


class World:
    """One campaign's stage. boxes: mailboxes that nobody releases, which every mail must reach.

    ease: how many times longer than in a short campaign everybody rests; a night's journal must fit into memory.
    """

    def __init__(self, machine: Machine, outside: Outside, journal: Journal, seed: int, ease: float = 1) -> None:
        self.machine = machine
        self.outside = outside
        self.journal = journal
        self.seed = seed
        self._ease = ease
        self.boxes: list[Box] = []
        self.people: list[Person] = []
        self.over = asyncio.Event()
        self.figures: Counter[str] = Counter()
        self._number = itertools.count()

    def dice(self, name: str) -> random.Random:
        """Chance for one actor, the same for the same seed."""
        return random.Random(f"{self.seed}/{name}")

    def token(self, kind: str) -> str:
        """A word that occurs once in this campaign."""
        return f"{kind}{self.seed}x{next(self._number)}"

    async def newcomer(self, name: str, key: str | None = None) -> "Person":
        """Somebody with a wallet of its own (or an API key), signed in as soon as the instance lets it."""
        person = Person(self, self.dice(f"{name}/wallet"), key)
        person.name = name
        self.people.append(person)
        if key is None:
            while not await person.sign_in():
                await self.pause(0.3)
        return person

    async def pause(self, seconds: float) -> None:
        """Rest so long, or until the campaign is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds * self._ease):
                await self.over.wait()


class Person:
    """One caller. Each call is in the journal with its request id, before it leaves if it may cost or do something."""

    def __init__(self, world: World, dice: random.Random, key: str | None = None) -> None:
        self.world = world
        self.wallet: LocalAccount = Account.from_key(dice.randbytes(32))
        self.session: dict[str, Any] = {}
        self.name = ""
        # Without certificates, which nobody needs here and each client would load anew.
        self._http = httpx.AsyncClient(base_url=world.machine.url, timeout=HANGS_S, verify=False)
        self._is_keyed = key is not None
        self._signed_in_at = time.time()
        if key is not None:
            self._http.headers["authorization"] = f"Bearer {key}"

    @property
    def tenant_id(self) -> str:
        return str(self.session.get("tenant_id", ""))

    @property
    def agent_id(self) -> str:
        return str(self.session["agent_id"])

    async def leave(self) -> None:
        await self._http.aclose()

    async def sign_in(self) -> bool:
        """Get a session; False if the instance could not give one now."""
        made = await self.call("POST", "/v2/auth/siwe/challenge", json={"wallet_address": self.wallet.address})
        if made is None or made.status_code != 200:
            return False
        message = made.json()["message"]
        body = {"message": message, "signature": sign(self.wallet, message)}
        answer = await self.call("POST", "/v2/auth/siwe/verify", json=body, nonce=made.json()["nonce"])
        if answer is None or answer.status_code != 200:
            return False
        self.session, self._signed_in_at = answer.json(), time.time()
        self._http.headers["authorization"] = f"Bearer {self.session['access_token']}"
        return True

    async def call(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        """One request; None where the answer was lost. Words that httpx does not know go into the journal."""
        told = {name: more.pop(name) for name in list(more) if name not in _FOR_HTTPX}
        headers = {"x-request-id": (trace := self.world.token("call-")), **more.pop("headers", {})}
        began = time.time()
        if method != "GET":
            await self.world.journal.note("asks", call=trace, method=method, path=path, **told)
        status, fault, answer = None, "", None
        try:
            answer = await self._http.request(method, path, headers=headers, **more)
            status = answer.status_code
        except httpx.TransportError as lost:
            fault = type(lost).__name__
        self.world.figures["calls"] += 1
        await self.world.journal.note(
            "http",
            call=trace,
            tenant=self.tenant_id,
            method=method,
            path=path,
            began=began,
            status=status,
            fault=fault,
            age=0 if self._is_keyed else round(began - self._signed_in_at),
            **({"replayed": True} if answer is not None and "idempotent-replayed" in answer.headers else {}),
            **({"body": answer.text[:900]} if answer is not None and status is not None and status >= 500 else {}),
            **told,
        )
        if status == 401 and not self._is_keyed and not path.startswith("/v2/auth"):
            await self.sign_in()
        return answer

    async def proof(self, method: str, path: str, quantity: int = 1) -> str | None:
        """A payment proof, if this tenant can pay."""
        answer = await self.call("POST", PROOF, json={"method": method, "path": path, "quantity": quantity})
        if answer is None or answer.status_code != 200:
            return None
        self.world.figures["proofs issued"] += 1
        return str(answer.json()["x_payment_proof"])

    async def patiently(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        """Ask again while the answer is lost or 503, as a good client does; None when the campaign is over."""
        while not self.world.over.is_set():
            answer = await self.call(method, path, **more)
            if answer is not None and answer.status_code != 503:
                return answer
            await self.world.pause(0.25)
        return None

    async def lease(self, headers: dict[str, str] | None = None, **order: Any) -> Box | None:
        """A fresh mailbox, paid for where it must be; the same Idempotency-Key until it is answered."""
        key = self.world.token("key-")
        wanted = {"agent_id": self.agent_id, "purpose": "faults", "ttl_hours": 720, "metadata": {"key": key}, **order}
        sent = {"idempotency-key": key, **(headers or {})}
        asked = time.time()
        for _ in range(3):
            answer = await self.patiently("POST", LEASES, json=wanted, headers=sent, key=key)
            if answer is None:
                return None
            if answer.status_code == 201:
                return await self._moved_in(answer.json(), asked, key)
            if answer.status_code != 402 or (proof := await self.proof("POST", LEASES)) is None:
                return None
            sent["x-payment-proof"] = proof
        return None

    async def release(self, box: Box) -> None:
        """Release until told that it is so."""
        asked = time.time()
        answer = await self.patiently("POST", f"{LEASES}/{box.lease_id}/release")
        if answer is not None and answer.status_code == 202:
            await self.world.journal.note("released", lease=box.lease_id, address=box.address, asked=asked)

    async def _moved_in(self, view: dict[str, Any], asked: float, key: str) -> Box:
        box = Box(view["address"], view["mailbox_id"], view["lease_id"], self.tenant_id)
        await self.world.journal.note("leased", asked=asked, key=key, **msgspec.to_builtins(box))
        return msgspec.structs.replace(box, password=view["webmail_password"])


_FOR_HTTPX = frozenset({"json", "headers", "params", "content", "timeout"})
