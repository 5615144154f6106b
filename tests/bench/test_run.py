"""`python -m tests.bench` itself, with benches that are made up."""

import io
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from tests.bench import __main__ as run
from tests.bench import figures


def bench(**parts: Any) -> ModuleType:
    module = ModuleType("bench")
    vars(module).update(parts)
    return module


def rows(seconds: float = 9.0) -> list[figures.Row]:
    return [figures.row("cost", "ms", [seconds], goal=5.0), figures.absent("peer", "ms", "no such program")]


def ratios(found: list[figures.Row]) -> list[figures.Row]:
    return [figures.ratio("cost ÷ peer", found, "cost", "peer", 2)]


def breaks() -> list[figures.Row]:
    raise LookupError("nothing there")


BENCHES = {
    "good": bench(rows=rows, ratios=ratios, QUICK={"seconds": 1.0}, versions=lambda: {"peer": "1.0"}),
    "long": bench(rows=rows, QUICK=None),
    "broken": bench(rows=breaks),
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run, "_module", BENCHES.__getitem__)
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results.json")
    return tmp_path / "results.json"


def test_a_run_prints_and_writes_what_was_found(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["good"]) == 0
    said = capsys.readouterr().out
    for words in (
        "missed: cost: 9, want 5",
        "not measured: cost ÷ peer",
        "absent: peer: no such program",
        "0 of 1 targets",
    ):
        assert words in said
    written = json.loads(results.read_text())
    assert [each["name"] for each in written["rows"]] == ["cost", "peer"]
    assert [(each["name"], each["holds"]) for each in written["targets"]] == [("cost", False), ("cost ÷ peer", None)]
    assert written["versions"]["peer"] == "1.0"
    assert "full" in written["versions"]["run"]


def test_a_short_run_calls_a_bench_as_it_asks(results: Path) -> None:
    assert run.main(["good", "--quick"]) == 0
    assert json.loads(results.read_text())["rows"][0]["median"] == 1.0


def test_one_that_breaks_costs_the_others_nothing(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["broken", "good"]) == 1
    assert "broken broke: LookupError: nothing there (test_run.py:" in capsys.readouterr().out
    assert len(json.loads(results.read_text())["rows"]) == 2


def test_a_short_run_leaves_out_what_asks_for_it() -> None:
    full, short = run._all("full"), run._all("short")
    assert set(short) < set(full)
    assert {"accept", "http", "instance", "latency", "live", "parse", "webhooks"} <= set(short)
    assert all(callable(run._module(name).rows) for name in full)


def test_an_absent_peer_is_shown_with_its_reason() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(run._table("title", rows()))
    assert "absent: no such program" in out.getvalue()
