"""Metrics: named as Prometheus wants them, and added up over the roles of a machine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import Counter, Histogram

from leasebox.infra import metrics
from leasebox.infra.metrics import FOLDER_VARIABLE

OURS = [each for each in vars(metrics).values() if isinstance(each, Counter | Histogram)]
ROLE = (
    "from leasebox.infra import metrics; metrics.LEASES.labels('granted').inc({}); metrics.PARSE_SECONDS.observe(0.002)"
)
SHOW = "import sys; from leasebox.infra import metrics; sys.stdout.buffer.write(metrics.render())"


@pytest.mark.parametrize("metric", OURS, ids=lambda metric: metric._name)
def test_names_have_base_units(metric: Counter | Histogram) -> None:
    assert metric._name.startswith("leasebox_")
    assert metric._documentation
    if isinstance(metric, Histogram):
        assert re.search(r"_(seconds|bytes|mails)\Z", metric._name)


def test_one_process_shows_its_own() -> None:
    before = sample(metrics.render().decode(), 'leasebox_leases_total{change="tested"}')
    metrics.LEASES.labels("tested").inc(3)
    assert sample(metrics.render().decode(), 'leasebox_leases_total{change="tested"}') == before + 3


def run(folder: Path, program: str) -> str:
    env = {**os.environ, FOLDER_VARIABLE: str(folder)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_roles_of_a_machine_are_added_up_dead_ones_too(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    metrics.share(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    for count in (2, 5):
        run(folder, ROLE.format(count))
    shown = run(folder, SHOW)
    assert sample(shown, 'leasebox_leases_total{change="granted"}') == 7
    assert sample(shown, "leasebox_parse_seconds_count") == 2
    assert sample(shown, 'leasebox_parse_seconds_bucket{le="0.0025"}') == 2


def test_sharing_begins_anew(tmp_path: Path) -> None:
    run(tmp_path, ROLE.format(2))
    assert list(tmp_path.glob("*.db"))
    (tmp_path / "kept.txt").write_text("not ours")
    metrics.share(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def sample(text: str, name: str) -> float:
    return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + " ")), 0.0)
