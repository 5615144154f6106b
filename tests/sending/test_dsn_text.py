"""Bounces in words: what is said, to whom it happened, and what is none of a bounce's business."""

import pytest

from leasebox.sending.dsn_text import PEOPLE, Said, read_text

ANN = "ann@far.example"


def said(text: str) -> list[tuple[str, str | None, str | None]]:
    return [(each.outcome, each.address, each.status) for each in read_text(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Your message could not be delivered.\n<ann@far.example>: 550 5.1.1 no", ("failed", ANN, "5.1.1")),
        ("Undeliverable.\nann@far.example\n  554 5.7.1 spam", ("failed", ANN, "5.7.1")),
        ("Delivery failed.\n`ann@far.example`: 421 later", ("failed", ANN, "4.0.0")),
        ("Delivery failed.\nann@far.example: 550 no", ("failed", ANN, "5.0.0")),
        ("Delivery failed.\nann@far.example: Benutzer weg", ("failed", ANN, None)),
        ("Your mail is delayed.\nann@far.example", ("delayed", ANN, None)),
        ("Delivery failed temporarily.\nann@far.example\n421 4.2.1 later", ("failed", ANN, "4.2.1")),
        ("The mail was delivered to\nann@far.example", ("delivered", ANN, None)),
        ("Votre message n'a pas pu être remis à\nann@far.example", ("failed", ANN, None)),
        ("No se ha podido entregar:\nann@far.example", ("failed", ANN, None)),
        ("Impossibile consegnare il messaggio\nann@far.example", ("failed", ANN, None)),
        ("Delivery failed.\nann@far.example: quota exceeded", ("failed", ANN, "5.2.2")),
        ("Delivery failed.\nann@far.example: Recipient address rejected: not found", ("failed", ANN, "5.1.1")),
        ("Delivery failed.\nann@far.example: unknown domain", ("failed", ANN, "5.1.2")),
        ("Delivery failed.\nann@far.example: 192.168.5.1 said 550 5.1.1 no", ("failed", ANN, "5.1.1")),
        ("Delivery failed.\nann@far.example [5.1.1.9] is down", ("failed", ANN, None)),
    ],
    ids=range(16),
)
def test_one_address(text: str, expected: tuple[str, str, str | None]) -> None:
    assert said(text) == [expected]


@pytest.mark.parametrize("text", ["", "Hello ann@far.example", "\n\n", "Thank you, I am away.", "x" * 10_000])
def test_nothing_was_said_of_a_message(text: str) -> None:
    assert read_text(text) == []


def test_a_failure_without_an_address_is_told_of_nobody() -> None:
    assert said("Sorry, your message could not be delivered: mailbox full") == [("failed", None, "5.2.2")]


@pytest.mark.parametrize(
    "beside",
    [
        "To: bob@far.example",
        "  Cc:  bob@far.example",
        "From: bob@far.example",
        "Please contact bob@far.example for help",
        "For further assistance, write to bob@far.example",
        "Generating server: bob@far.example",
        "--- Below this line is a copy of the message.\n<bob@far.example>: 550",
        "Received: from bob@far.example",
        "------ This is a copy of the message ------\nbob@far.example",
        "----- Original message -----\nbob@far.example",
    ],
    ids=range(10),
)
def test_addresses_beside_the_matter_are_passed_over(beside: str) -> None:
    assert said(f"Delivery failed.\nann@far.example: 550 5.1.1\n{beside}\n") == [("failed", ANN, "5.1.1")]


def test_sections_have_fates_of_their_own() -> None:
    text = "These failed permanently:\nann@far.example\nThese are delayed:\nbob@far.example: 421 4.2.1 busy\n"
    assert said(text) == [("failed", ANN, None), ("delayed", "bob@far.example", "4.2.1")]


def test_a_second_word_about_an_address_adds_to_the_first() -> None:
    text = "Delivery failed.\n<ann@far.example>\nTranscript:\n550 5.1.1 <ann@far.example>... User unknown"
    (one,) = read_text(text)
    assert one.reasons == ["<ann@far.example>", "Transcript:", "550 5.1.1 <ann@far.example>... User unknown"]


def test_people_and_reasons_are_bounded() -> None:
    people = read_text("failed\n" + "".join(f"a{n}@far.example\n" for n in range(1_000)))
    assert len(people) <= PEOPLE
    (one,) = read_text("failed\nann@far.example\n" + "reason\n" * 500)
    assert len(one.reasons) < 20


def test_a_vague_code_is_better_than_none() -> None:
    assert Said("failed", ANN, ["550 5.0.0 no"]).status == "5.0.0"
    assert Said("delayed", ANN, ["user unknown"]).status is None
