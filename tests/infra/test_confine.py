"""Children die with their parent and hold no more rights than they need."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from leasebox.infra import confine
from leasebox.infra.confine import ENGINE, Owner
from tests.infra.homes import alive, eventually

PARENT = """
import signal, subprocess, sys, time
from leasebox.infra.confine import with_parent
child = subprocess.Popen(["sleep", "60"], preexec_fn=with_parent(signal.SIGKILL))
print(child.pid, flush=True)
time.sleep(60)
"""

ADOPTING = """
import os, time
from leasebox.infra.confine import adopt_orphans
adopt_orphans()
told, spoken = os.pipe()
if os.fork() == 0:
    middle = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == middle:
        time.sleep(0.01)
    os.write(spoken, b"%d" % os.getppid())
    os._exit(0)
os.wait()
print(os.read(told, 20).decode(), flush=True)
os.wait()
"""


def test_a_child_dies_with_its_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
    assert eventually(lambda: not alive(child))


def test_a_grandchild_without_a_parent_is_adopted() -> None:
    with subprocess.Popen([sys.executable, "-c", ADOPTING], stdout=subprocess.PIPE, text=True) as ours:
        assert ours.communicate(timeout=20)[0] == f"{ours.pid}\n"


def test_who_is_tied_to_somebody_who_is_gone_ends() -> None:
    tied = "import signal\nfrom leasebox.infra.confine import tie\ntie(1 << 22, signal.SIGKILL)\nprint('alive')"
    done = subprocess.run([sys.executable, "-c", tied], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("owner", [None, ENGINE])
def test_a_held_child_gains_no_rights_and_shares_no_session(owner: Owner | None) -> None:
    if owner and os.geteuid() != 0:
        pytest.skip("root is absent: only it can change who a child runs as")
    show = ["sh", "-c", "cat /proc/self/status; umask; ps -o sid= -p $$ || true"]
    said = subprocess.run(
        show, capture_output=True, text=True, check=True, **confine.held(owner, signal.SIGKILL)
    ).stdout
    fields = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
    uid = owner.uid if owner else os.geteuid()
    assert fields["NoNewPrivs"] == "1"
    assert fields["Uid"].split() == [str(uid)] * 4
    assert "0077" in said.splitlines()
    if owner:
        assert fields["Gid"].split() == [str(owner.gid)] * 4
        assert fields["Groups"].strip() == ""
        assert int(fields["CapEff"], 16) == 0


def test_engines_never_run_as_root() -> None:
    owner = confine.engine_owner()
    assert (owner is None) == (os.geteuid() != 0)
    assert owner is None or owner.uid > 1000


@pytest.mark.parametrize(
    ("above", "mode", "yes"),
    [(0o755, 0o644, True), (0o711, 0o644, True), (0o700, 0o644, False), (0o755, 0o640, False), (0o750, 0o777, False)],
)
def test_reachable_is_what_strangers_may_read(
    above: int, mode: int, yes: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = Path("/tmp") / f"lbt-{os.getpid()}-{above:o}-{mode:o}"
    place.mkdir()
    try:
        (place / "file").touch()
        (place / "file").chmod(mode)
        (place / "link").symlink_to(place / "file")
        place.chmod(above)
        assert confine.reachable(place / "file") is yes
        assert confine.reachable(place / "link") is yes
    finally:
        (place / "file").unlink()
        (place / "link").unlink()
        place.rmdir()


def test_private_files_are_whole_and_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    (tmp_path / ".secret.new").write_text("left by a crash")
    confine.write_private(path, "first")
    confine.write_private(path, "second")
    assert path.read_text() == "second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_a_tree_is_handed_over_but_not_what_it_links_to(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("root is absent: nobody else can give files away")
    tree, other = tmp_path / "tree", tmp_path / "other"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "file").touch()
    other.touch()
    (tree / "link").symlink_to(other)
    confine.hand_over(tree, ENGINE)
    assert {path.lstat().st_uid for path in [tree, *tree.rglob("*")]} == {ENGINE.uid}
    assert other.stat().st_uid == 0


def test_flush_reaches_every_file_and_says_which_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    (tmp_path / "file").touch()
    confine.flush(tmp_path, tmp_path / "file")
    assert sorted(synced) == [str(tmp_path), str(tmp_path / "file")]
    with pytest.raises(FileNotFoundError):
        confine.flush(tmp_path, tmp_path / "absent")
