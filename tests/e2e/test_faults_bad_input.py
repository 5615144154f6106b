"""Bad input by number on a running leasebox: no 5xx, no hang over 2 s, no stuck connection, no growth in memory."""

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from eth_account import Account

from leasebox.infra import ports
from tests.billing.shop import LEASES, SMALL, lease_with, proof, use_up
from tests.faults import hostile
from tests.faults.machine import pss_mib
from tests.faults.share import Share
from tests.infra.homes import argv, offspring
from tests.instance import Instance, up
from tests.kit import Agent, sign

SEED = 20_261_120
HANG_S = 2.0
# What a process may weigh more after the second half than after the first: a leak of 10 KiB an input would be 20 MiB.
GROWTH_MIB = 12.0
AT_ONCE = 12
# Files that a server holds when nobody speaks to it may come and go by a few (pools, caches).
SPARE_FILES = 8
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW")
PATHS = (
    "/v2/messages",
    "/v2/messages/wait",
    "/v2/mailboxes/leases",
    "/v2/mailboxes/accounts",
    "/v2/payments/proof",
    "/v2/auth/me",
    "/v2/api-keys",
    "/v2/tenants/wallets",
    "/v2/billing/balance",
    "/v2/usage/summary",
    "/v2/billing/invoices",
    "/v2/agents",
    "/v2/claims",
    "/v2/messages/send",
    "/v2/webhooks",
    "/v2/domains",
    "/readyz",
    "/metrics",
    "/openapi.json",
)
Work = Callable[[int], Awaitable[str | int]]


@pytest.fixture(scope="module")
def submission() -> int:
    """The port where mailboxes hand in mail."""
    return ports.claim("127.0.0.1", 0)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory, submission: int) -> Iterator[Instance]:
    place = tmp_path_factory.mktemp("bad")
    (place / "prices.toml").write_text(SMALL)
    off = ("API_RATE", "SIGNIN_RATE", "TENANT_RATE", "CLAIM_RATE", "SMTP_RATE", "SMTP_CONNECTIONS")
    settings = {f"LEASEBOX_{name}": "0" for name in off} | {"LEASEBOX_LEASE_QUOTA_MAILS": "100000"}
    settings |= {"LEASEBOX_LEASE_QUOTA_MIB": "10000", "LEASEBOX_PRICES": str(place / "prices.toml")}
    with up(place / "home", LEASEBOX_SUBMISSION=f"127.0.0.1:{submission}", **settings) as running:
        yield running


@pytest.fixture
async def agent(instance: Instance) -> AsyncIterator[Agent]:
    async with httpx.AsyncClient(base_url=instance.url, timeout=30) as http:
        yield await Agent.signed_in(http, Account.create())


class Scale:
    """What the roles weigh and how many files they hold, before and after."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def roles(self) -> dict[str, int]:
        """The process of each role."""
        found = {}
        for pid in offspring(self._instance.process.pid):
            if match := re.search(r" serve (\w+) ?\Z", argv(pid)):
                found[match[1]] = pid
        return found

    def weigh(self) -> dict[str, float]:
        """MiB of each role, and of what it has started."""
        return {role: sum(map(pss_mib, (pid, *offspring(pid)))) for role, pid in self.roles().items()}

    def files(self) -> dict[str, int]:
        return {role: len(list((Path("/proc") / str(pid) / "fd").iterdir())) for role, pid in self.roles().items()}


async def in_halves(instance: Instance, count: int, work: Work) -> Counter[str | int]:
    """Do it `count` times, some at once; what came of it. Time, memory, files and processes stay in bounds."""
    scale, seen, slow = Scale(instance), Counter[str | int](), list[tuple[float, int]]()
    roles, weights, files = scale.roles(), [], []
    share = Share()
    looking = asyncio.create_task(_look(share))

    async def queue(numbers: Iterator[int]) -> None:
        for number in numbers:
            began = time.monotonic()
            async with asyncio.timeout(60):
                seen[await work(number)] += 1
            if (took := time.monotonic() - began) > HANG_S:
                slow.append((round(took, 2), number))

    for half in (range(count // 2), range(count // 2, count)):
        numbers = iter(half)
        await asyncio.gather(*(queue(numbers) for _ in range(AT_ONCE)))
        await asyncio.sleep(0.5)
        weights.append(scale.weigh())
        files.append(scale.files())
    looking.cancel()
    patience_s = share.patience(HANG_S)
    assert [each for each in slow if each[0] > patience_s] == [], f"{patience_s:.1f} s allowed"
    assert scale.roles() == roles, "a role has died"
    grown = {role: round(weights[1][role] - weights[0][role], 1) for role in roles}
    assert all(more < GROWTH_MIB for more in grown.values()), grown
    assert await _settled(scale, files[0]), (files, scale.files())
    return seen


async def _settled(scale: Scale, before: dict[str, int]) -> bool:
    for _ in range(100):
        if all(held <= before[role] + SPARE_FILES for role, held in scale.files().items()):
            return True
        await asyncio.sleep(0.1)
    return False


async def _look(share: Share) -> None:
    while True:
        share.look()
        await asyncio.sleep(0.5)


@pytest.mark.timeout(400)
async def test_two_thousand_spoilt_sign_ins(instance: Instance) -> None:
    wallet = Account.from_key(random.Random(SEED).randbytes(32))
    async with httpx.AsyncClient(base_url=instance.url, timeout=30) as http:

        async def work(number: int) -> int:
            dice = random.Random(f"{SEED}/siwe/{number}")
            made = await http.post("/v2/auth/siwe/challenge", json={"wallet_address": wallet.address})
            message, signature = hostile.sign_in(made.json()["message"], sign(wallet, made.json()["message"]), dice)
            body = {"message": message, "signature": signature}
            answer = await http.post("/v2/auth/siwe/verify", json=body)
            assert answer.status_code in (400, 401, 403, 422), (number, answer.status_code, body, answer.text)
            return answer.status_code

        assert sum((await in_halves(instance, 2000, work)).values()) == 2000
        await Agent.signed_in(http, wallet)


@pytest.mark.timeout(400)
async def test_two_thousand_spoilt_proofs(instance: Instance, agent: Agent) -> None:
    async with httpx.AsyncClient(base_url=instance.url, timeout=30) as elsewhere:
        stranger = await Agent.signed_in(elsewhere, Account.create())
        await use_up(stranger)
        other = await proof(stranger)
    await use_up(agent)
    sound = await proof(agent)

    async def work(number: int) -> int:
        spoilt = hostile.proof(sound, other, random.Random(f"{SEED}/proof/{number}"))
        answer = await lease_with(agent, spoilt)
        assert answer.status_code in (400, 402), (number, spoilt, answer.status_code, answer.text)
        return answer.status_code

    assert (await in_halves(instance, 2000, work))[402] > 1500
    assert len((await agent.http.get(LEASES)).json()["items"]) == 2
    assert (await lease_with(agent, await proof(agent))).status_code == 201


@pytest.mark.timeout(400)
async def test_four_hundred_spellings_of_paths_by_every_method(instance: Instance, agent: Agent) -> None:
    """No spelling but the one is answered as the route is: nothing is read, made or metered by another name."""
    asked = [(path, each) for path in PATHS for each in hostile.spellings(path)]
    asked = [(method, spelt) for _, spelt in asked for method in METHODS]
    assert len(asked) >= 400 * len(METHODS)
    token = agent.http.headers["authorization"]
    host, port = instance.url.removeprefix("http://").split(":")

    async def work(number: int) -> int:
        method, spelt = asked[number]
        status = await _status(host, int(port), f"{method} {spelt} HTTP/1.1", token)
        # `/v2/messages/wait.` is a message's path, too, and OPTIONS tells what can be done there.
        assert 400 <= status < 500 or (method, status) == ("OPTIONS", 204), (method, spelt, status)
        return status

    seen = await in_halves(instance, len(asked), work)
    assert seen[404] > len(asked) // 2
    assert (await agent.http.get("/v2/usage/events")).json()["items"] == []


async def _status(host: str, port: int, line: str, token: str) -> int:
    """The status of a request whose first line is sent as it stands; 400 where the server only hangs up."""
    reader, writer = await asyncio.open_connection(host, port)
    head = f"{line}\r\nhost: {host}\r\nauthorization: {token}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    try:
        writer.write(head.encode())
        answer = await reader.readline()
        return int(answer.split()[1]) if answer else 400
    except ConnectionError:
        return 400
    finally:
        writer.transport.abort()


@pytest.mark.timeout(600)
async def test_five_thousand_spoilt_mails(instance: Instance, agent: Agent) -> None:
    """What is taken becomes a message that can be read, whatever it was; the rest is refused for good."""
    address = (await agent.lease())["address"]
    mails = hostile.corpus(Path(__file__).parents[1])
    kept: list[str] = []

    async def work(number: int) -> str:
        dice = random.Random(f"{SEED}/mail/{number}")
        raw = hostile.spoilt(dice.choice(mails), dice)
        reply = await _mailed(instance, raw if raw.endswith(b"\r\n") else raw + b"\r\n", address)
        assert re.match(r"(250|550|552|554|500|521) ", reply), (number, reply)
        kept.extend(re.findall(r"msg_\w+", reply))
        return reply[:3]

    seen = await in_halves(instance, 5000, work)
    assert seen["250"] > 2500, seen
    assert len(kept) == seen["250"]

    async def read(number: int) -> int:
        while (answer := await agent.http.get(f"/v2/messages/{kept[number]}")).status_code == 404:
            await asyncio.sleep(0.2)  # not parsed yet
        assert answer.status_code == 200, (kept[number], answer.status_code, answer.text[:300])
        return answer.status_code

    async with asyncio.timeout(300):
        for begin in range(0, len(kept), AT_ONCE):
            await asyncio.gather(*(read(number) for number in range(begin, min(begin + AT_ONCE, len(kept)))))


async def _mailed(instance: Instance, raw: bytes, address: str) -> str:
    """The last reply to a mail over a connection of its own."""
    reader, writer = await asyncio.open_connection(instance.smtp_host, instance.smtp_port)
    try:
        await _reply(reader)
        for line in ("EHLO bad.example", "MAIL FROM:<a@bad.example>", f"RCPT TO:<{address}>"):
            writer.write(f"{line}\r\n".encode())
            await _reply(reader)
        writer.write(b"DATA\r\n")
        assert (await _reply(reader)).startswith("354")
        writer.write(re.sub(rb"(\A|\r\n)\.", rb"\1..", raw) + b".\r\n")
        return await _reply(reader)
    finally:
        writer.transport.abort()


async def _reply(reader: asyncio.StreamReader) -> str:
    while (line := await reader.readline())[3:4] == b"-":
        pass
    return line.decode()


@pytest.mark.timeout(400)
async def test_five_thousand_spoilt_smtp_dialogues(instance: Instance, agent: Agent, submission: int) -> None:
    """Whatever is said, at either door, the answer is SMTP, and never that something went wrong inside."""
    address = (await agent.lease())["address"]

    async def work(number: int) -> str:
        said = hostile.dialogue(random.Random(f"{SEED}/smtp/{number}"))
        port = submission if number % 5 == 0 else instance.smtp_port
        reader, writer = await asyncio.open_connection(instance.smtp_host, port)
        try:
            writer.write(said)
            writer.write_eof()
            heard = await reader.read()
        except ConnectionError:
            return "reset"
        finally:
            writer.transport.abort()
        for line in heard.split(b"\r\n")[:-1]:
            assert re.match(rb"[2-5]\d\d[ -][\x20-\x7e]*\Z", line), (number, said, line)
            assert line[:3] not in (b"451", b"454"), (number, said, line)
        return heard[:3].decode()

    seen = await in_halves(instance, 5000, work)
    assert sum(seen.values()) == 5000
    assert (await _mailed(instance, b"Subject: still here\r\n\r\nx\r\n", address)).startswith("250")
