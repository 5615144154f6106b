"""The new part of an answer: a corpus in many languages, what it must never do, and what it may cost."""

import time
from typing import Any

import pytest

from leasebox.mail import mime
from leasebox.mail.extracted import LINES_CAP, new_part
from leasebox.mail.mime import ParsedMail
from tests.bench.bench_extracted import Case, cases, lines_of
from tests.kit_mail import vector_mails

ATTRIBUTION = "On Mon, Mar 2, 2026 at 10:01 AM Ada <ada@shop.example> wrote:"
HOSTILE = {
    "quotes": "> a\n" * 20_000,
    "attributions": f"{ATTRIBUTION}\nx\n" * 5_000,
    "labels": "From: a\n" * 20_000,
    "copies": "Sent: a\nCc: b\n" * 10_000,
    "bare dashes": "--\nx\n" * 10_000,
    "signatures": "-- \n" * 20_000,
    "rules": "__________\nx\n" * 10_000,
    "a long line above quotes": "_" * 900_000 + "x\n" + "> a\n" * 20_000,
    "blank lines": "\n" * 500_000,
    "a colon after blanks": (" " * 390 + ":\n") * 2_500,
    "wide blanks": ("\u3000" * 390 + ":\n") * 800,
    "one line": "a wrote " * 100_000 + ":\n",
    "openings": ("<a@b" * 90 + ":\n") * 2_500,
    "marks": ">" * 1_000_000,
    "old mails": "-----Original Message-----\n> x\n" * 10_000,
}


def told(text: str, **fields: Any) -> str | None:
    return new_part(ParsedMail(outcome="parsed", text=text, **{"subject": "Re: Offer", **fields}))


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_corpus(case: Case) -> None:
    assert case.found() == lines_of(case.new)


def test_the_corpus_is_large_and_a_third_was_kept_back() -> None:
    every = cases()
    assert len(every) >= 80
    assert len({case.name for case in every}) == len(every)
    assert 0.25 < sum(case.half == "unseen" for case in every) / len(every) < 0.45


def test_all_new_is_none() -> None:
    assert told("Hello.\n\nAda\n") is None
    assert told("") is None
    assert told("Yes.\n> really?\n", subject="Hello") is None
    assert told("Yes.\n> really?\n") == "Yes."


@pytest.mark.parametrize(
    "fields",
    [{"subject": "Re: x"}, {"in_reply_to": "<1@x.example>"}, {"references": ("<1@x.example>",)}],
    ids=["subject", "in-reply-to", "references"],
)
def test_marked_lines_are_quotes_in_answers_only(fields: dict[str, Any]) -> None:
    text = "Fine.\n\n> Shall we?\n"
    assert told(text, **{"subject": "Offer", **fields}) == "Fine."
    assert told(text, subject="Offer") is None


def test_a_quote_that_begins_without_an_answer_above_is_all_there_is() -> None:
    text = "From: Ada\nSent: Monday\nTo: Ben\nSubject: x\n\nIs anything new down here?"
    assert told(text) is None


def test_what_stands_behind_the_lines_that_are_read_is_kept_unless_the_quote_began() -> None:
    many = "> old\n" * (LINES_CAP - 1)
    assert told(f"New.\n{many}Newer.") == "New.\nNewer."
    assert told(f"New.\n{ATTRIBUTION}\nold\n{many}old") == "New."


@pytest.mark.parametrize("subject", ["Re: x", "x", "Fwd: x"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_text_takes_long(text: str, subject: str) -> None:
    start = time.thread_time()
    told(text, subject=subject)
    assert time.thread_time() - start < 1.5


def test_mails_that_others_collected_lose_no_line_of_their_own() -> None:
    """Nothing is made up: every line of the result stands in the text, in the same order."""
    for path in vector_mails():
        mail = mime.parse(path.read_bytes())
        found = new_part(mail)
        rest = iter(mail.text.split("\n"))
        assert found is None or all(line in rest for line in found.split("\n") if line), path.name
