"""Stepping back, by itself and with a session of its own."""

import re
import subprocess
import sys
from pathlib import Path

STEP = """
from pathlib import Path
from leasebox.infra.priority import step_back
import os
step_back(7)
group = Path("/proc/self/autogroup")
print(os.getpriority(os.PRIO_PROCESS, 0), group.read_text() if group.exists() else "nice 7")
"""


def stepped(*, session: str) -> tuple[int, int]:
    """The nice values of a process that stepped back by 7, and of its group."""
    argv = [sys.executable, "-P", "-c", STEP]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, start_new_session=session == "own")
    own, group = re.findall(r"(-?\d+)(?= |$)", done.stdout.strip())[0], done.stdout.rpartition("nice ")[2]
    return int(own), int(group)


def test_who_leads_a_session_steps_back_with_it() -> None:
    own, group = stepped(session="own")
    assert own == group >= 7


def test_a_session_of_others_stays_where_it_is() -> None:
    file = Path("/proc/self/autogroup")
    before = file.read_text() if file.exists() else ""
    assert stepped(session="ours")[0] >= 7
    assert (file.read_text() if file.exists() else "") == before
