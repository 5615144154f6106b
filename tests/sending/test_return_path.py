"""The signed return path: what it looks like, who can read it, and that nobody else can make one."""

import random
import string
from datetime import UTC, datetime

import pytest

from leasebox.leases.model import RESERVED
from leasebox.sending import return_path
from leasebox.values.addresses import Mailbox
from leasebox.values.ids import SendAttemptId
from leasebox.values.keys import KeyRing, Purpose, derive
from leasebox.values.secret import Secret

NOW = derive(Secret("n" * 32), Purpose.RETURN_PATH)
BEFORE = derive(Secret("b" * 32), Purpose.RETURN_PATH)
OTHER_USE = derive(Secret("n" * 32), Purpose.PAYMENT_PROOF)
RING = KeyRing(NOW, BEFORE)
ATTEMPT = SendAttemptId.parse("snd_01kafzzzzzf00v0dy0f3b3v5kk")
MADE = "bounce+01kafzzzzzf00v0dy0f3b3v5kk.grhv2eb2ew832cvzsw2p@inbox.example"
LOCAL = MADE.partition("@")[0]


def test_it_is_an_address_of_ours_that_names_its_attempt() -> None:
    made = return_path.make(RING, ATTEMPT, "inbox.example")
    assert made == MADE, "a change here voids what is on its way"
    mailbox = Mailbox.parse(made)
    assert str(mailbox) == made
    assert len(mailbox.local) + 1 + len(mailbox.tag) <= 64
    assert return_path.NAME in RESERVED
    assert return_path.read(RING, f"{mailbox.local}+{mailbox.tag}") == ATTEMPT


def test_each_attempt_has_its_own() -> None:
    attempts = [SendAttemptId.new(datetime(2026, 11, 20, tzinfo=UTC)) for _ in range(200)]
    made = [return_path.make(RING, attempt, "inbox.example").partition("@")[0] for attempt in attempts]
    assert [return_path.read(RING, each) for each in made] == attempts
    assert len({each.rpartition(".")[2] for each in made}) == len(attempts)


@pytest.mark.parametrize(
    ("signed", "read", "known"),
    [
        (NOW, RING, True),
        (BEFORE, RING, True),
        (BEFORE, KeyRing(NOW), False),
        (NOW, KeyRing(BEFORE), False),
        (OTHER_USE, RING, False),
    ],
    ids=["current", "retiring", "retired", "not-yet-ours", "another-purpose"],
)
def test_only_the_ring_reads_it(signed: object, read: KeyRing, known: bool) -> None:
    assert isinstance(signed, type(NOW))
    local = return_path.make(KeyRing(signed), ATTEMPT, "inbox.example").partition("@")[0]
    assert (return_path.read(read, local) == ATTEMPT) is known


@pytest.mark.parametrize("spelling", [str.upper, str.title, str.swapcase], ids=["upper", "title", "swapped"])
def test_a_host_may_change_the_case(spelling: object) -> None:
    assert callable(spelling)
    assert return_path.read(RING, spelling(LOCAL)) == ATTEMPT


@pytest.mark.parametrize("place", range(len("bounce+"), len(LOCAL)))
def test_no_character_may_differ(place: int) -> None:
    for char in "0z.+-":
        forged = LOCAL[:place] + char + LOCAL[place + 1 :]
        assert return_path.read(RING, forged) == (ATTEMPT if forged == LOCAL else None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bounce",
        "bounce+",
        "bounce+.",
        MADE,
        LOCAL + "=",
        LOCAL + "\n",
        " " + LOCAL,
        LOCAL.replace("bounce", "bounces"),
        LOCAL.replace("bounce", "prvs"),
        LOCAL.replace(".", ".."),
        LOCAL.replace(".", "+"),
        LOCAL[:-1],
        LOCAL + "0",
        LOCAL.rpartition(".")[0],
        LOCAL.rpartition(".")[0] + ".",
        LOCAL.rpartition(".")[0] + "." + "0" * 20,
        "bounce+" + "8" + LOCAL[len("bounce+") + 1 :],
        "bounce+" + "z" * 26 + "." + "z" * 20,
        LOCAL.replace("k", "\u212a"),
        LOCAL.translate(str.maketrans(string.digits, "٠١٢٣٤٥٦٧٨٩")),
        "bounce+" + "0" * 100_000,
        LOCAL + "\u0000",
    ],
    ids=range(23),
)
def test_nothing_else_is_one(text: str) -> None:
    assert return_path.read(RING, text) is None


def test_the_mac_of_one_attempt_is_no_good_for_another() -> None:
    other = SendAttemptId(int=ATTEMPT.int ^ 1)
    theirs = return_path.make(RING, other, "inbox.example").partition("@")[0]
    swapped = LOCAL.rpartition(".")[0] + "." + theirs.rpartition(".")[2]
    assert return_path.read(RING, swapped) is None


def test_any_text_is_read_or_refused() -> None:
    noise = random.Random(20261120)
    for _ in range(5_000):
        text = "".join(noise.choice(LOCAL + "ABé\ud800\x00=") for _ in range(noise.randrange(70)))
        assert return_path.read(RING, text) is None
