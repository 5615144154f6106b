"""What `make growth` says before it begins."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.bench import growth
from tests.bench.growth_fill import Size


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_disk_with_less_than_is_needed_is_refused_before_anything_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = growth.octets_needed(growth.SIZES)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(needed, 1, needed - 1))
    monkeypatch.setattr("sys.argv", ["growth", "--folder", str(tmp_path)])
    assert growth.main() == 1
    said = capsys.readouterr().out
    assert f"{needed / 1e9:.1f} GB of disk at most" in said
    assert "name smaller --sizes, or a --folder" in said
    assert list(tmp_path.iterdir()) == []


def test_a_full_run_is_foretold_within_its_bounds() -> None:
    assert 40e9 < growth.octets_needed(growth.SIZES) < 55e9
    assert growth.seconds_needed(growth.QUICK) < growth.seconds_needed(growth.SIZES) <= 25 * 60


def test_an_empty_house_is_always_beside_the_sizes_that_were_asked_for() -> None:
    assert growth._sizes("3000000,20000") == [Size(0, 0), Size(20_000, 20_000), Size(3_000_000, 1_000_000)]
