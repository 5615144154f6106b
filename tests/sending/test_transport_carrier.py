"""Along a route: hosts, kept connections, the gate, and what is told to the book."""

import asyncio
from collections.abc import Sequence

import pytest

from leasebox.sending.relay import Route
from leasebox.sending.transport import Parcel, Patience
from leasebox.sending.transport_carrier import Carrier, Outcome, stopped
from leasebox.sending.transport_pool import Pool
from leasebox.sending.transport_reply import Reply, Verdict, reply
from tests.fakes.relay import HANG, RESET, FakeRelay
from tests.sending.outgoing import way

ONE, TWO = "one@there.example", "two@there.example"
CONTENT = b"Subject: Hello\r\n\r\nHello.\r\n"
PARCEL = Parcel("bounce@here.example", (ONE, TWO), CONTENT)


class Desk:
    """How many books are written at once, and at most were."""

    now = most = 0


class Notes:
    """A book that remembers, and may say no."""

    def __init__(self, *, ours: bool = True, desk: Desk | None = None) -> None:
        self.begun: list[str] = []
        self.outcomes: list[Outcome] = []
        self._ours = ours
        self._desk = desk or Desk()

    async def begin(self, remote: str, said: Sequence[Reply]) -> bool:
        self.begun.append(remote)
        return self._ours

    async def settle(self, outcome: Outcome) -> None:
        self._desk.now += 1
        self._desk.most = max(self._desk.most, self._desk.now)
        await asyncio.sleep(0.1)
        self._desk.now -= 1
        self.outcomes.append(outcome)

    @property
    def word(self) -> str:
        [outcome] = self.outcomes
        return outcome.word

    def verdicts(self) -> dict[str, Verdict]:
        [outcome] = self.outcomes
        return {each: fate.verdict for each, fate in outcome.fates.items()}


CALM, QUICK = Patience(20.0, 20.0, 20.0, 20.0), Patience(2.0, 0.3, 2.0, 0.3)


def carrier(pool: Pool | None = None, patience: Patience = CALM) -> Carrier:
    return Carrier("here.example", pool or Pool(), patience)


async def carried(route: Route, carry: Carrier | None = None) -> Notes:
    notes = Notes()
    await (carry or carrier()).carry(route, PARCEL, notes)
    return notes


@pytest.mark.parametrize(
    ("script", "word", "begun"),
    [
        ({}, "sent", 1),
        ({"MAIL": "550 5.7.1 No"}, "failed", 0),
        ({"MAIL": "451 4.3.0 Later"}, "deferred", 0),
        ({"MAIL": "530 5.7.0 Log in first"}, "deferred", 0),
        ({"RCPT": "550 5.1.1 No"}, "failed", 0),
        ({"RCPT": "552 5.5.3 Too many"}, "deferred", 0),
        ({f"RCPT {ONE}": "450 4.2.1 Grey"}, "partial", 1),
        ({f"RCPT {ONE}": "450 4.2.1 Grey", f"RCPT {TWO}": "550 5.1.1 No"}, "partial", 0),
        ({f"RCPT {ONE}": "550 5.1.1 No", "end": "451 4.3.0 Later"}, "partial", 1),
        ({"DATA": "554 5.7.1 No"}, "failed", 0),
        ({"DATA": "451 4.3.0 Later"}, "deferred", 0),
        ({"end": "554 5.7.1 Spam"}, "failed", 1),
        ({"end": "452 4.3.1 Full"}, "deferred", 1),
        ({"end": "421 4.3.2 Closing"}, "deferred", 1),
        ({"end": RESET}, "unknown", 1),
        ({"end": HANG}, "unknown", 1),
        ({"end": "garbage"}, "unknown", 1),
        ({"connect": "554 5.3.2 No mail here"}, "deferred", 0),
        ({"connect": "nonsense"}, "deferred", 0),
        ({"EHLO": "554 5.7.1 You?", "HELO": "554 5.7.1 You?"}, "deferred", 0),
        ({"MAIL": RESET}, "deferred", 0),
        ({"RCPT": HANG}, "deferred", 0),
        ({"DATA": "garbage"}, "deferred", 0),
    ],
    ids=range(23),
)
async def test_every_stage_has_its_outcome(script: dict[str, str], word: str, begun: int) -> None:
    async with FakeRelay(script).serving() as relay:
        notes = await carried(way(relay), carrier(patience=QUICK if HANG in script.values() else CALM))
        assert (notes.word, len(notes.begun)) == (word, begun)
        assert set(notes.verdicts()) == {ONE, TWO}
        taken = word == "sent" or "end" not in script or script["end"] == RESET
        assert len(relay.mails) == (1 if begun and taken else 0)


async def test_who_was_refused_is_not_offered_to_the_next_host() -> None:
    first, second = FakeRelay({f"RCPT {ONE}": "550 5.1.1 No", "DATA": RESET}), FakeRelay()
    async with first.serving(), second.serving():
        notes = await carried(way(first, second))
        assert notes.verdicts() == {ONE: Verdict.FAILED, TWO: Verdict.SENT}
        assert second.mails[0].recipients == (TWO,)
        [outcome] = notes.outcomes
        assert outcome.remote == f"mx2.example [127.0.0.1]:{second.port}"
        assert [each.code for each in outcome.said if each.command == "connect"] == [220, 220]


async def test_a_route_without_hosts_puts_off() -> None:
    notes = await carried(Route("none", ()))
    assert (notes.word, notes.outcomes[0].remote) == ("deferred", None)


async def test_no_end_is_sent_when_the_book_says_no() -> None:
    async with FakeRelay().serving() as relay:
        notes = Notes(ours=False)
        await carrier().carry(way(relay), PARCEL, notes)
        await asyncio.sleep(0.05)
        assert (relay.mails, notes.outcomes, len(notes.begun)) == ([], [], 1)
        assert relay.open == 0


async def test_a_kept_connection_that_went_stale_costs_nothing() -> None:
    pool = Pool()
    async with FakeRelay({"MAIL": ["250 OK", "421 4.4.2 Idle too long", "250 OK"]}).serving() as relay:
        carry = carrier(pool)
        assert (await carried(way(relay), carry)).word == "sent"
        second = await carried(way(relay), carry)
        assert second.word == "sent"
        assert 421 not in [each.code for each in second.outcomes[0].said]
        assert relay.sessions == 2
    await pool.close()


async def test_routes_of_different_keys_share_no_connection() -> None:
    pool = Pool()
    async with FakeRelay().serving() as relay:
        carry = carrier(pool)
        await carried(way(relay, key="a"), carry)
        await carried(way(relay, key="b"), carry)
        await carried(way(relay, key="a"), carry)
        assert [mail.session for mail in relay.mails] == [1, 2, 1]
    await pool.close()


@pytest.mark.parametrize(("keys", "most"), [("aaaa", 1), ("abcd", 4)])
async def test_the_gate_of_a_route_opens_when_the_book_is_written_not_before(keys: str, most: int) -> None:
    desk = Desk()
    async with FakeRelay().serving() as relay:
        carry, books = carrier(), [Notes(desk=desk) for _ in keys]
        await asyncio.gather(
            *(carry.carry(way(relay, key=key), PARCEL, book) for key, book in zip(keys, books, strict=True))
        )
        assert [book.word for book in books] == ["sent"] * 4
        assert desk.most <= most
        assert relay.most_at_the_end <= most
        assert most == 1 or desk.most > 1, "other routes have gates of their own"


async def test_a_brooding_server_does_not_keep_the_gate_for_ever() -> None:
    async with FakeRelay({"end": [HANG, "250 2.0.0 OK"]}).serving() as relay:
        carry = Carrier("here.example", Pool(), Patience(20.0, 20.0, 20.0, 4.0), gate_s=0.1)
        slow, quick = Notes(), Notes()
        waiting = asyncio.create_task(carry.carry(way(relay), PARCEL, slow))
        while not relay.stages["end"]:
            await asyncio.sleep(0.01)
        async with asyncio.timeout(3.5):
            await carry.carry(way(relay), PARCEL, quick)
        assert (quick.word, slow.outcomes) == ("sent", [])
        await waiting
        assert slow.word == "unknown"


async def test_cancelled_before_the_end_nothing_is_taken() -> None:
    async with FakeRelay({"DATA": HANG}).serving() as relay:
        notes = Notes()
        task = asyncio.create_task(carrier().carry(way(relay), PARCEL, notes))
        while not relay.stages["DATA"]:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)
        assert (relay.mails, notes.outcomes, notes.begun) == ([], [], [])


def test_no_server_was_spoken_to() -> None:
    outcome = stopped([ONE, TWO], reply("route", 556, "5.1.10 Null MX"))
    assert (outcome.word, outcome.remote, len(outcome.fates)) == ("failed", None, 2)
