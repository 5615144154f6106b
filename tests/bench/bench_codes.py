"""How many codes and links are found, how many are made up, and what a mail costs.

`python tests/bench/bench_codes.py [--quick]`. The cases are tests/corpus/codes; a third of them, chosen by the hash of
their names, was not run while the rules were made. Precision: of what we named, how much was right. Recall: of what
there was, how much we named.
"""

import hashlib
import statistics
import sys
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from leasebox.mail.otp import Content, Extraction, extract

QUICK = {"rounds": 60}
CORPUS: Final = Path(__file__).parents[1] / "corpus" / "codes"
SMALL_GOAL_US: Final = 400
LARGE_GOAL_US: Final = 3_000

Half = Literal["seen", "unseen"]
What = Literal["code", "link"]


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mail and what must come out of it; None: nothing may. The last three are only checked where they stand."""

    name: str
    subject: str
    sender: str
    text: str = ""
    html: str = ""
    code: str | None = None
    link: str | None = None
    target: str | None = None
    visible: bool | None = None
    host_matches_sender: bool | None = None

    @property
    def half(self) -> Half:
        digest = hashlib.sha256(self.name.encode()).hexdigest()
        return "unseen" if int(digest, 16) % 3 == 0 else "seen"

    def read(self) -> Extraction:
        return extract(Content(self.subject, self.sender, self.text, self.html))


class Score(NamedTuple):
    """right: named and true. wrong: named and not true. missed: true and not named (a wrong one misses as well)."""

    right: int
    wrong: int
    missed: int

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


def score(chosen: Iterable[Case], what: What) -> Score:
    """How the extraction does on these cases, for codes or for links."""
    right = wrong = missed = 0
    for case in chosen:
        result = case.read()
        named, wanted = (result.otp_code, case.code) if what == "code" else (result.verification_link, case.link)
        right += named is not None and named == wanted
        wrong += named is not None and named != wanted
        missed += wanted is not None and named != wanted
    return Score(right, wrong, missed)


def rows(rounds: int = 300) -> list[dict[str, str | float | int]]:
    """Figures by name: unit, median, n (cases or rounds); costs also with p99 and the goal they are held to."""
    figures: list[dict[str, str | float | int]] = []
    every = cases()
    for half in ("seen", "unseen"):
        for what in ("code", "link"):
            chosen = [case for case in every if case.half == half]
            result = score(chosen, what)
            there = sum(getattr(case, what) is not None for case in chosen)
            for measure, value in (("precision", result.precision), ("recall", result.recall)):
                figures.append(
                    {
                        "name": f"{what}s: {measure}, {half}",
                        "unit": "share",
                        "median": round(value, 4),
                        "n": len(chosen),
                        "there": there,
                        "right": result.right,
                        "wrong": result.wrong,
                    }
                )
    small, text_only, large = _small(), _text_only(), _large()
    figures.append(_cost("a code mail in text and HTML", small, rounds, SMALL_GOAL_US))
    figures.append(_cost("a code mail in text only", text_only, rounds, SMALL_GOAL_US))
    figures.append(_cost("a newsletter", large, max(10, rounds // 10), LARGE_GOAL_US))
    return figures


def _cost(name: str, mail: Content, rounds: int, goal: int) -> dict[str, str | float | int]:
    spent: list[float] = []
    for _ in range(rounds):
        start = time.thread_time()
        extract(mail)
        spent.append((time.thread_time() - start) * 1e6)
    kilobytes = (len(mail.text) + len(mail.html)) / 1_000
    return {
        "name": f"{name} of {kilobytes:.1f} KB",
        "unit": "µs CPU a mail",
        "median": round(statistics.median(spent), 1),
        "n": rounds,
        "p99": round(sorted(spent)[int(rounds * 0.99)], 1),
        "goal": goal,
    }


_BODY: Final = """Hello Ada,

Your verification code is 481920.

It expires in 10 minutes. If you did not ask for it, ignore this mail.
You can also open https://northpeak.example/verify?t=Zk3vP0aQ8rT1 to go on.

Northpeak GmbH, 10115 Berlin
"""
_STYLE: Final = (
    "font-family:-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;color:#3d4852;"
    "box-sizing:border-box;mso-line-height-rule:exactly;-webkit-text-size-adjust:100%"
)


def _small() -> Content:
    html = (
        '<!doctype html><html><body style="background:#fff"><table width="600"><tr><td>'
        '<img src="https://northpeak.example/logo.png" alt="Northpeak"></td></tr><tr><td><p>Hello Ada,</p>'
        '<p style="font-size:14px;color:#333">Your verification code is</p><p style="font-size:30px"><b>481920</b></p>'
        "<p>It expires in 10 minutes. If you did not ask for it, ignore this mail.</p>"
        '<p><a href="https://northpeak.example/verify?t=Zk3vP0aQ8rT1">Verify</a></p></td></tr>'
        "<tr><td>Northpeak GmbH, 10115 Berlin</td></tr></table></body></html>"
    )
    return Content("Your Northpeak verification code", "Northpeak <no-reply@northpeak.example>", _BODY, html)


def _text_only() -> Content:
    return Content("Your Northpeak verification code", "Northpeak <no-reply@northpeak.example>", _BODY * 3, "")


def _large() -> Content:
    """A newsletter without a code: 22 cards, 45 links, 50 KB, of which 4 KB are to be seen."""
    cards = "".join(_card(number) for number in range(22))
    foot = '<p>Garden Weekly, PO Box 44120, Portland 97201 <a href="https://news.example/unsubscribe?u=1">Leave</a></p>'
    head = ".a{color:#333}@media only screen and (max-width:600px){.b{width:100%!important}}" * 40
    html = f"<!doctype html><html><head><style>{head}</style></head><body>{cards}{foot}</body></html>"
    return Content("The spring issue", "Garden Weekly <news@news.example>", "", html)


def _card(number: int) -> str:
    link = f"https://click.news.example/ls/click?upn=u001.{number:04d}Ab-2BcDeFgHiJkLmNoPqRsTuVwXyZ{number * 7919}"
    return (
        f'<table role="presentation" cellpadding="0" width="100%" style="{_STYLE};margin:0 auto;padding:0"><tr>'
        f'<td style="{_STYLE};padding:35px;vertical-align:top"><a href="{link}&amp;u=88" style="{_STYLE}">'
        f'<img src="https://cdn.news.example/2026/03/card-{number}-600x300@2x.png" width="600" alt="Tour {number}"'
        f' style="{_STYLE};display:block"></a><h2 style="{_STYLE};font-size:18px">Planting in zone {number}</h2>'
        f'<p style="{_STYLE};font-size:16px;line-height:1.5em">We visited {1200 + number} gardens and asked what grows'
        " best when the frost is gone. Read how Maria saved 40 percent on seeds, and which tools she never lends.</p>"
        f'<a href="{link}" style="{_STYLE};color:#fff;background-color:#2d3748">Read more</a></td></tr></table>'
    )


def main() -> None:
    """Print the figures as a table."""
    table = Table("what", "figure", "unit", "n", "more", title="codes and links")
    for row in rows(60 if "--quick" in sys.argv else 1_000):
        rest = {key: value for key, value in row.items() if key not in ("name", "median", "unit", "n")}
        more = ", ".join(f"{key} {value}" for key, value in rest.items())
        table.add_row(str(row["name"]), str(row["median"]), str(row["unit"]), str(row["n"]), more)
    Console().print(table)


if __name__ == "__main__":
    main()
