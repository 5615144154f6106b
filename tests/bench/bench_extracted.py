"""How well the new part of an answer is told from what it quotes, and what that costs.

`python tests/bench/bench_extracted.py [--quick]`. The cases are tests/corpus/replies; a third of them, chosen by the
hash of their names, was not run while the rules were made. Precision: of the lines that we called new, how many were.
Recall: of the new lines, how many we kept. Exact: mails without any fault.
"""

import hashlib
import statistics
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from leasebox.mail import mime
from leasebox.mail.extracted import new_part
from leasebox.mail.mime import ParsedMail

QUICK = {"rounds": 60}
CORPUS: Final = Path(__file__).parents[1] / "corpus" / "replies"
SMALL_GOAL_US: Final = 200
LARGE_GOAL_US: Final = 20_000

Half = Literal["seen", "unseen"]


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mail as text or as HTML only, and what of it is new."""

    name: str
    subject: str
    new: str
    text: str = ""
    html: str = ""

    @property
    def half(self) -> Half:
        digest = hashlib.sha256(self.name.encode()).hexdigest()
        return "unseen" if int(digest, 16) % 3 == 0 else "seen"

    def mail(self) -> ParsedMail:
        """The mail as a parser gives it."""
        kind, body = ("html", self.html) if self.html else ("plain", self.text)
        head = f"Subject: {self.subject}\nMIME-Version: 1.0\nContent-Type: text/{kind}; charset=utf-8\n\n"
        return mime.parse(f"{head}{body}".encode())

    def found(self) -> list[str]:
        """The lines called new."""
        mail = self.mail()
        extracted = new_part(mail)
        return lines_of(mail.text if extracted is None else extracted)


class Score(NamedTuple):
    """Lines that were right, wrong (old, called new) and missed (new, called old); mails, and those without a fault."""

    right: int
    wrong: int
    missed: int
    mails: int
    exact: int

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)


def cases() -> list[Case]:
    """All cases of the corpus, in the order of its files."""
    found: list[Case] = []
    for path in sorted(CORPUS.glob("*.toml")):
        found += msgspec.convert(tomllib.loads(path.read_text("utf-8"))["case"], list[Case])
    return found


def score(chosen: Iterable[Case]) -> Score:
    """How the extraction does on these cases."""
    right = wrong = missed = mails = exact = 0
    for case in chosen:
        found, wanted = case.found(), lines_of(case.new)
        said, true = (Counter(line for line in lines if line) for lines in (found, wanted))
        right += (said & true).total()
        wrong += (said - true).total()
        missed += (true - said).total()
        mails += 1
        exact += found == wanted
    return Score(right, wrong, missed, mails, exact)


def lines_of(text: str) -> list[str]:
    """The lines of a text without blanks at their ends, nor blank lines at its own."""
    return [line.rstrip() for line in text.strip("\n").rstrip().split("\n")]


def rows(rounds: int = 300) -> list[dict[str, str | float | int]]:
    """Figures by name: unit, median, n (mails or rounds); costs also with p99 and the goal they are held to."""
    figures: list[dict[str, str | float | int]] = []
    for half in ("seen", "unseen"):
        result = score(case for case in cases() if case.half == half)
        for measure, value in (
            ("precision of lines", result.precision),
            ("recall of lines", result.recall),
            ("mails without a fault", result.exact / result.mails),
        ):
            name = f"new part: {measure}, {half}"
            more: dict[str, str | float | int] = {"wrong": result.wrong, "missed": result.missed}
            figures.append({"name": name, "unit": "share", "median": round(value, 4), "n": result.mails, **more})
    figures.append(_cost("an answer of 1 KB", _answer(12), rounds, SMALL_GOAL_US))
    figures.append(_cost("a text of 256 KB", _answer(4_000), max(10, rounds // 30), LARGE_GOAL_US))
    return figures


def _answer(quoted: int) -> ParsedMail:
    old = "".join(f"> Line {number} of an old mail, some words long.\n" for number in range(quoted))
    text = f"Thanks, we accept.\n\nOn Mon, Mar 2, 2026 at 10:01 AM Ada <ada@shop.example> wrote:\n\n{old}"
    return mime.parse(f"Subject: Re: Offer\n\n{text}".encode())


def _cost(name: str, mail: ParsedMail, rounds: int, goal: int) -> dict[str, str | float | int]:
    spent: list[float] = []
    for _ in range(rounds):
        start = time.thread_time()
        new_part(mail)
        spent.append((time.thread_time() - start) * 1e6)
    p99 = round(sorted(spent)[int(rounds * 0.99)], 1)
    unit = "µs CPU a mail"
    return {
        "name": name,
        "unit": unit,
        "median": round(statistics.median(spent), 1),
        "n": rounds,
        "p99": p99,
        "goal": goal,
    }


def main() -> None:
    """Print the figures as a table."""
    table = Table("what", "figure", "unit", "n", "more", title="the new part of an answer")
    for row in rows(60 if "--quick" in sys.argv else 1_000):
        rest = {key: value for key, value in row.items() if key not in ("name", "median", "unit", "n")}
        more = ", ".join(f"{key} {value}" for key, value in rest.items())
        table.add_row(str(row["name"]), str(row["median"]), str(row["unit"]), str(row["n"]), more)
    Console().print(table)


if __name__ == "__main__":
    main()
