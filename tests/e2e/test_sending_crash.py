"""2,000 queued mails while the worker is killed twenty times: none is lost, and few enough come twice.

The relay is Postfix's smtp-sink, which keeps what it has taken in files. Afterwards these are compared with what the
database says: every mail is there; one more than once only where its attempt tells of a try of unknown outcome; and of
those there are no more than kills, since a worker sends the end of one mail at a time to a relay.
"""

import asyncio
import os
import re
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account

from leasebox.infra import db
from leasebox.infra.embedded import attach
from tests import debian
from tests.infra.homes import offspring, serves
from tests.instance import Instance, up
from tests.kit import sign

MAILS, KILLS, SENDERS = 2_000, 20, 8
PATIENCE_S = 600
FREE = {
    "LEASEBOX_API_RATE": "0",
    "LEASEBOX_SIGNIN_RATE": "0",
    "LEASEBOX_LEASE_QUOTA_MAILS": "1000000",
}
PRICES = '[meters]\n"message.send" = {free = 1000000, window = "day", price = "0.001"}\n'
_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>]+>)", re.IGNORECASE | re.MULTILINE)
DUE = "UPDATE send_hops SET next_try_at = next_try_at - interval '1 hour' WHERE state = 'waiting'"
OPEN = "SELECT count(*) FROM send_hops WHERE state <> 'done'"


@pytest.mark.timeout(2 * PATIENCE_S)
async def test_two_thousand_mails_and_twenty_kills_lose_none_and_repeat_few(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(PRICES)
    with debian.smtp_sink() as sink:
        settings = {"LEASEBOX_RELAY": f"smtp://127.0.0.1:{sink.port}?tls=off", **FREE}
        with up(tmp_path / "home", LEASEBOX_PRICES=str(tmp_path / "prices.toml"), **settings) as instance:
            urls = attach(instance.home)
            assert urls is not None
            assert urls.database_url is not None
            database = await db.connect(urls.database_url)
            attempts = await _queue(instance)
            assert await database.read(lambda tx: tx.value(OPEN)) == MAILS
            await database.transact(lambda tx: tx.run(DUE))
            kills = await _kill(instance, sink)
            async with asyncio.timeout(PATIENCE_S):
                while await database.read(lambda tx: tx.value(OPEN)):
                    await database.transact(lambda tx: tx.run(DUE))  # or who is in doubt waits for a minute
                    await asyncio.sleep(0.5)
            copies = Counter(_message_id(content) for _, _, content in sink.mails())
            await _judge(database, attempts, copies, kills)
            await database.close()


async def _queue(instance: Instance) -> set[str]:
    """Hand in all mails over HTTP, to go out in an hour; their attempts."""
    async with httpx.AsyncClient(base_url=instance.url, timeout=60) as http:
        wallet = Account.create()
        challenge = (await http.post("/v2/auth/siwe/challenge", json={"wallet_address": wallet.address})).json()
        body = {"message": challenge["message"], "signature": sign(wallet, challenge["message"])}
        session = (await http.post("/v2/auth/siwe/verify", json=body)).json()
        http.headers["authorization"] = f"Bearer {session['access_token']}"
        order = {"agent_id": session["agent_id"], "purpose": "load", "ttl_hours": 2}
        lease = (await http.post("/v2/mailboxes/leases", json=order)).json()
        numbers = iter(range(MAILS))
        found: set[str] = set()

        async def work() -> None:
            for number in numbers:
                mail = {
                    "mailbox_id": lease["mailbox_id"],
                    "to": [f"reader{number}@d{number % 7}.example"],
                    "subject": f"Mail {number}",
                    "text": f"This is mail {number}.",
                    "send_at": _in_an_hour(),
                }
                answer = await http.post("/v2/messages/send", json=mail)
                assert answer.status_code == 202, answer.text
                found.add(answer.json()["send_attempt_id"])

        await asyncio.gather(*(work() for _ in range(SENDERS)))
    return found


def _in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


async def _kill(instance: Instance, sink: debian.Sink) -> int:
    """Kill the worker with -9 twenty times, spread over the mails that the relay has taken."""
    kills = 0
    while kills < KILLS:
        await asyncio.sleep(0.01)
        taken = len(os.listdir(sink.folder))
        if taken >= (kills + 1) * MAILS // (KILLS + 2):
            workers = [pid for pid in offspring(instance.process.pid) if serves(pid, "worker")]
            if workers:
                os.kill(workers[0], signal.SIGKILL)
                kills += 1
                await asyncio.sleep(0.05)
    return kills


def _message_id(content: bytes) -> str:
    found = _MESSAGE_ID.search(content)
    assert found is not None
    return found[1].decode()


async def _judge(database: db.Database, attempts: set[str], copies: Counter[str], kills: int) -> None:
    rows: list[Any] = await database.read(
        lambda tx: tx.all(
            "SELECT a.header_message_id, a.state, r.state AS got, r.reply_code,"
            " (SELECT array_agg(t.outcome ORDER BY t.number) FROM send_tries t WHERE t.attempt_id = a.id) AS outcomes"
            " FROM send_attempts a JOIN send_recipients r ON r.attempt_id = a.id"
        )
    )
    doubts = sum(row["outcomes"].count("unknown") for row in rows)
    twice = sum(copies.values()) - len(copies)
    print(f"{len(rows)} mails, {kills} kills, {doubts} tries of unknown outcome, {twice} copies too many")  # noqa: T201
    assert len(attempts) == len(rows) == MAILS
    assert {(row["state"], row["got"], row["reply_code"]) for row in rows} == {("sent", "sent", 250)}
    assert {row["header_message_id"] for row in rows} == set(copies), "each was taken, and nothing else"
    for row in rows:
        *before, last = row["outcomes"]
        assert last == "sent"
        assert set(before) <= {"unknown"}
        assert copies[row["header_message_id"]] <= 1 + len(before), "a copy too many has a doubt that explains it"
    assert doubts <= kills
    assert twice <= kills
    assert await database.read(lambda tx: tx.value("SELECT count(*) FROM outgoing_contents")) == 0
