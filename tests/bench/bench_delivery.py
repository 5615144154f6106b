"""Mail going out of a real instance to Postfix's smtp-sink: how many a second, and how soon one that is handed in.

`python -m tests.bench delivery` prints the figures; a short run leaves it out.
"""

import asyncio
import os
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from eth_account import Account

from leasebox.infra import db
from leasebox.infra.embedded import attach
from tests import debian
from tests.bench import figures
from tests.bench.figures import Row
from tests.instance import Instance, up
from tests.kit import sign

QUICK = None
_PRICES = '[meters]\n"message.send" = {free = 1000000, window = "day", price = "0.001"}\n'
_DUE = "UPDATE send_hops SET next_try_at = next_try_at - interval '1 hour'"


_NAMES = (
    ("send: queue to smtp-sink, ten domains", "mails/s"),
    ("send: queue to smtp-sink, one domain", "mails/s"),
    ("send: 202 to taken by smtp-sink, one at a time", "ms"),
)


def rows(mails: int = 500, singles: int = 40) -> list[Row]:
    """Mails a second to one relay, for recipients of ten domains and of one; and one mail from its 202 to the relay."""
    if shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        return [figures.absent(name, unit, "no smtp-sink (Debian's package postfix)") for name, unit in _NAMES]
    with tempfile.TemporaryDirectory() as folder, debian.smtp_sink() as sink:
        prices = Path(folder) / "prices.toml"
        prices.write_text(_PRICES)
        settings = {
            "LEASEBOX_RELAY": f"smtp://127.0.0.1:{sink.port}?tls=off",
            "LEASEBOX_PRICES": str(prices),
            "LEASEBOX_API_RATE": "0",
            "LEASEBOX_LEASE_QUOTA_MAILS": "1000000",
        }
        with up(Path(folder) / "home", **settings) as instance:
            return asyncio.run(_measured(instance, sink, mails, singles))


async def _measured(instance: Instance, sink: debian.Sink, mails: int, singles: int) -> list[Row]:
    urls = attach(instance.home)
    assert urls is not None
    assert urls.database_url is not None
    database = await db.connect(urls.database_url)
    async with httpx.AsyncClient(base_url=instance.url, timeout=60) as http:
        mailbox_id = await _mailbox(http)
        many = await _rate(http, mailbox_id, database, sink, [f"n{n}@d{n % 10}.example" for n in range(mails)])
        one = await _rate(http, mailbox_id, database, sink, [f"n{n}@one.example" for n in range(mails)])
        took = [await _single(http, mailbox_id, sink, n) for n in range(singles + 3)][3:]
    await database.close()
    counts = (mails, mails, singles)
    return [
        figures.row(name, unit, values, n=count)
        for (name, unit), values, count in zip(_NAMES, ([many], [one], took), counts, strict=True)
    ]


async def _mailbox(http: httpx.AsyncClient) -> str:
    wallet = Account.create()
    challenge = (await http.post("/v2/auth/siwe/challenge", json={"wallet_address": wallet.address})).json()
    body = {"message": challenge["message"], "signature": sign(wallet, challenge["message"])}
    session = (await http.post("/v2/auth/siwe/verify", json=body)).json()
    http.headers["authorization"] = f"Bearer {session['access_token']}"
    order = {"agent_id": session["agent_id"], "purpose": "bench", "ttl_hours": 1}
    return str((await http.post("/v2/mailboxes/leases", json=order)).json()["mailbox_id"])


async def _rate(
    http: httpx.AsyncClient, mailbox_id: str, database: db.Database, sink: debian.Sink, to: list[str]
) -> float:
    """Mails a second, once all of them are due."""
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    left = iter(to)

    async def work() -> None:
        for address in left:
            await _send(http, mailbox_id, address, send_at=later)

    await asyncio.gather(*(work() for _ in range(4)))
    before = _taken(sink)
    began = time.perf_counter()
    await database.transact(lambda tx: tx.run(_DUE))
    while _taken(sink) < before + len(to):
        await asyncio.sleep(0.01)
    return len(to) / (time.perf_counter() - began)


async def _single(http: httpx.AsyncClient, mailbox_id: str, sink: debian.Sink, number: int) -> float:
    """Milliseconds."""
    before = _taken(sink)
    await _send(http, mailbox_id, f"single{number}@s{number % 3}.example")
    began = time.perf_counter()
    while _taken(sink) == before:
        await asyncio.sleep(0.0005)
    return (time.perf_counter() - began) * 1000


async def _send(http: httpx.AsyncClient, mailbox_id: str, to: str, **more: str) -> None:
    mail = {"mailbox_id": mailbox_id, "to": [to], "subject": "Bench", "text": "A mail.", **more}
    answer = await http.post("/v2/messages/send", json=mail)
    if answer.status_code != 202:
        raise SystemExit(f"send answered {answer.status_code}: {answer.text[:200]}")


def _taken(sink: debian.Sink) -> int:
    return len(os.listdir(sink.folder)) - 1  # its log stands there as well


if __name__ == "__main__":
    for row in rows():
        print(row)
