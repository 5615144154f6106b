"""A limit stretches for others' work and never for our own."""

import os
import subprocess
import sys
import time

import pytest

from tests.faults.share import Share, stretched

BURN = "import time\nwhile time.process_time() < 0.5: pass"


@pytest.mark.parametrize(("others", "limit"), [(0.0, 10), (0.24, 10), (0.5, 20), (0.75, 40), (1.0, 100)])
def test_a_limit_stretches_as_others_leave_less(others: float, limit: float) -> None:
    assert stretched(10, others) == pytest.approx(limit)


def test_what_we_and_our_children_use_is_ours() -> None:
    share, began = Share(), time.monotonic()
    busy = subprocess.Popen([sys.executable, "-c", BURN])
    while busy.poll() is None:
        share.look()
        time.sleep(0.01)
    seconds = time.monotonic() - began
    assert share.ours() * seconds * (os.cpu_count() or 1) > 0.25
    assert 0 <= share.others() <= 1


def test_what_nobody_uses_is_nobodys() -> None:
    share = Share()
    time.sleep(0.1)
    assert share.ours() < 0.9
    assert share.patience(10) >= 10
