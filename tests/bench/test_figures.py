"""Rows, ratios, targets, and the results file."""

import json
from pathlib import Path

import pytest

from tests.bench import figures

VERSIONS = {"python": "3.11"}


def held(name: str) -> figures.Row:
    return {"name": name, "want": 1.0, "got": 2.0, "holds": True}


def names(path: Path, which: str) -> list[str]:
    return [each["name"] for each in json.loads(path.read_text())[which]]


def test_a_row_has_the_median_and_the_p99_of_many_values() -> None:
    found = figures.row("a", "ms", [float(each) for each in range(100, 0, -1)], cpu_us=3.0)
    assert found == {"name": "a", "unit": "ms", "median": 50.5, "n": 100, "p99": 100.0, "cpu_us": 3.0}


@pytest.mark.parametrize(("unit", "count"), [("mails/s", 100), ("ms", 19)], ids=["a rate", "few values"])
def test_a_row_has_no_p99_of(unit: str, count: int) -> None:
    assert "p99" not in figures.row("a", unit, [1.0] * count)


@pytest.mark.parametrize(
    ("unit", "got", "holds"),
    [("ms", 4.0, True), ("ms", 6.0, False), ("mails/s", 4.0, False), ("mails/s", 6.0, True), ("share", 5.0, True)],
)
def test_a_goal_is_the_most_of_a_cost_and_the_least_of_a_rate(unit: str, got: float, holds: bool) -> None:
    assert figures.targets(figures.row("a", unit, [got], goal=5.0)) == [
        {"name": "a", "want": 5.0, "got": got, "holds": holds}
    ]


def test_a_goal_for_the_p99_is_a_target_of_its_own() -> None:
    found = figures.row("a", "ms", [1.0] * 97 + [9.0] * 3, goal=2.0, goal_p99=5.0)
    assert [(each["name"], each["holds"]) for each in figures.targets(found)] == [("a", True), ("a, p99", False)]


def test_an_absent_peer_is_a_row_without_figures_and_its_ratio_is_not_guessed() -> None:
    rows = [figures.row("ours", "mails/s", [9.0]), figures.absent("theirs", "mails/s", "no such program")]
    assert figures.targets(rows[1]) == []
    assert figures.ratio("ours ÷ theirs", rows, "ours", "theirs", 2) == {
        "name": "ours ÷ theirs",
        "want": 2,
        "got": None,
        "holds": None,
    }


def test_a_ratio_is_of_medians_or_of_cpu() -> None:
    rows = [figures.row("a", "ms", [6.0], cpu_us=1.0), figures.row("b", "ms", [2.0], cpu_us=4.0)]
    assert figures.ratio("r", rows, "a", "b", 2)["got"] == 3.0
    assert figures.ratio("r", rows, "a", "b", 2)["holds"]
    assert not figures.ratio("r", rows, "a", "b", 2, "cpu_us")["holds"]


def test_the_results_file_has_the_promised_shape(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    rows = [figures.row("a", "ms", [1.0], goal=2.0), figures.absent("b", "ms", "no b")]
    figures.write(path, VERSIONS, rows, [{**held("a"), "more": 1}])
    results = json.loads(path.read_text())
    assert list(results) == ["versions", "load", "rows", "targets"]
    assert results["versions"] == VERSIONS
    assert len(results["load"]) == 3
    assert [list(each) for each in results["rows"]] == [
        ["name", "unit", "median", "p99", "cpu_us", "n"],
        ["name", "unit", "median", "p99", "cpu_us", "n", "absent"],
    ]
    assert results["targets"] == [held("a")]


def test_a_run_of_its_own_and_all_others_leave_one_another_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.json"

    def row(name: str) -> figures.Row:
        return figures.row(name, "ms", [1.0])

    figures.write_apart(path, "growth", "first", [row("growth: a"), row("growth: b")], [held("growth: a")])
    figures.write(path, VERSIONS, [row("http: a")], [held("http: a")])
    figures.write(path, VERSIONS, [row("accept 4 KB")], [])
    assert names(path, "rows") == ["accept 4 KB", "growth: a", "growth: b"]
    assert names(path, "targets") == ["growth: a"]
    figures.write_apart(path, "growth", "second", [row("growth: c")], [held("growth: c")])
    assert names(path, "rows") == ["accept 4 KB", "growth: c"]
    assert names(path, "targets") == ["growth: c"]
    assert json.loads(path.read_text())["versions"] == {**VERSIONS, "growth": "second"}


@pytest.mark.parametrize("text", ["", "[]", '{"rows": []}', "not json"])
def test_a_results_file_of_another_shape_is_made_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    figures.write(path, VERSIONS, [figures.row("a", "ms", [1.0])], [])
    assert names(path, "rows") == ["a"]


def test_a_machine_is_described_and_not_named() -> None:
    import platform

    told = figures.machine()
    assert set(told) == {"cpu", "linux"}
    assert platform.node() not in told.values()
