"""README's figures, from results that are made up."""

import json
from pathlib import Path

import pytest

from tests.bench import bench_accept, page
from tests.bench.figures import Row, absent, row

BEGIN, END = page.MARKS
README = f"# leasebox\n\n{BEGIN}stale\n{END}\n## More\n"


def results(*rows: Row, targets: tuple[Row, ...] = ()) -> dict[str, object]:
    versions = {"python": "3.11.2", "cpu": "2 × Machine", "linux": "6.1", "run": "2026-11-20 21:00 UTC, full, 500 s"}
    return {"versions": versions, "load": [0.5, 0.4, 0.3], "rows": list(rows), "targets": list(targets)}


def accepted(server: str, rate: float) -> Row:
    return row(bench_accept._name(server, 4_096, 64), "mails/s", [rate], cpu_us=80.0)


def test_only_what_stands_between_the_marks_is_made_anew() -> None:
    text = page.rewritten(README, results())
    assert text.startswith(f"# leasebox\n\n{BEGIN}Run of 2026-11-20 21:00 UTC, full, 500 s, on 2 × Machine, Linux 6.1")
    assert text.endswith(f"{END}\n## More\n")
    assert "stale" not in text
    assert page.rewritten(text, results()) == text


@pytest.mark.parametrize("readme", ["", f"{BEGIN}", f"{END}{BEGIN}"])
def test_a_readme_without_marks_is_refused(readme: str) -> None:
    with pytest.raises(ValueError, match="README has no"):
        page.rewritten(readme, results())


def test_a_line_has_median_p99_cpu_and_its_peers() -> None:
    ours = accepted(bench_accept._OURS, 7_000.0)
    reply = row(f"{ours['name']}: content to reply, CPU with PostgreSQL", "ms", [2.0] * 90 + [8.0] * 10)
    peer = absent(bench_accept._name("Haraka, discarding", 4_096, 64), "mails/s", "no node")
    text = page.figures_text(results(ours, reply, accepted("Postfix, queueing", 900.0), peer))
    assert (
        "| 4 KB accepted and committed, 64 connections | 7,000 mails/s | 8 ms | 80 µs "
        "| Postfix queueing: 900, Haraka discarding: absent |" in text
    )


def test_growth_is_shown_for_the_largest_size_beside_the_smaller_ones() -> None:
    sizes = ("empty", "1 million messages", "10 million messages")
    found = [row(f"growth: lease and release, {each}", "ms", [n + 1.0]) for n, each in enumerate(sizes)]
    purge = [row(f"growth: purge, {word}10 million messages", "x", [5.0]) for word in ("", "a message, ")]
    text = page.figures_text(results(*found, *purge))
    assert "| lease and release, 10 million messages stored | 3 ms |  |  | empty: 1, 1 million: 2 |" in text
    assert "| expired mail purged, 10 million messages stored | 5 x |" in text


def test_what_was_missed_has_a_line_of_its_own_and_says_what_was_wanted() -> None:
    targets = (
        {"name": "cost", "want": 5.0, "got": 6.0, "holds": False},
        {"name": "rate", "want": 5.0, "got": 6.0, "holds": True},
        {"name": "ratio", "want": 2.0, "got": 1.5, "holds": False},
        {"name": "other cost", "want": 2.0, "got": 1.0, "holds": True},
        {"name": "peer", "want": 2.0, "got": None, "holds": None},
    )
    text = page.figures_text(results(targets=targets))
    assert "Targets: 2 hold, 2 are missed.\n\n- missed: cost 6, at most 5\n- missed: ratio 1.5, at least 2\n" in text
    assert "- not measured: peer\n" in text
    assert "Held: rate 6, at least 5; other cost 1, at most 2." in text


def test_what_the_results_lack_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme, path = tmp_path / "README.md", tmp_path / "results.json"
    readme.write_text(README)
    monkeypatch.setattr(page, "README", readme)
    monkeypatch.setattr(page, "RESULTS", path)
    assert page.main() == 1
    path.write_text(json.dumps(results(accepted(bench_accept._OURS, 1.0))))
    assert page.main() == 0
    assert "| 4 KB accepted and committed, 64 connections | 1 mails/s |" in readme.read_text()
    lacking = page.missing(json.loads(path.read_text()))
    assert len(lacking) == len(page.LINES) - 1


def test_readme_has_its_place_for_the_figures_and_keeps_to_it() -> None:
    text = page.README.read_text()
    chapter = text.partition("## How fast, measured how\n")[2].partition("\n## ")[0]
    assert BEGIN in chapter
    assert END in chapter
    assert len(chapter.splitlines()) <= 90
