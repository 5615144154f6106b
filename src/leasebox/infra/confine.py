"""How a child process is held: it dies with us, and the engines never run as root."""

import ctypes
import functools
import os
import signal
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_LIBC = ctypes.CDLL(None)


class Owner(NamedTuple):
    """Whose a process and its files are."""

    uid: int
    gid: int


# Numbers, not a user: nothing is added to the machine. No distribution hands this one out, and it is below 65,536,
# so it also exists inside user namespaces. `nobody` would share our files with every other program's `nobody`.
ENGINE = Owner(47825, 47825)
# initdb alone insists on a uid that /etc/passwd knows; what it wrote is handed over to ENGINE before anything runs.
NOBODY = Owner(65534, 65534)


def engine_owner() -> Owner | None:
    """Who the engines run as: ENGINE for root, None (that is ourselves) for anybody else."""
    return ENGINE if os.geteuid() == 0 else None


def with_parent(death: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends the child `death` when the thread that starts it ends (prctl(2), PDEATHSIG).

    So start children from the main thread. It does not reach grandchildren: a role uses it for its own children too.
    """
    return functools.partial(tie, os.getpid(), death)


def tie(parent: int, death: signal.Signals) -> None:
    """The kernel sends this process `death` when `parent` ends; ends it at once when that has happened already."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(death), 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def adopt_orphans() -> None:
    """From now on whoever below us loses its parent becomes our child (prctl(2), SUBREAPER): wait for it, too."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def held(owner: Owner | None, death: signal.Signals) -> dict[str, Any]:
    """`subprocess.Popen` arguments for an engine: own session, private files, `owner`'s identity, gone with us."""
    hold = with_parent(death)

    def confine() -> None:
        _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        hold()  # after setuid, which clears it

    identity: dict[str, Any] = {}
    if owner is not None:
        identity = {"user": owner.uid, "group": owner.gid, "extra_groups": []}
    return {"start_new_session": True, "umask": 0o077, "close_fds": True, "preexec_fn": confine, **identity}


def reachable(path: Path) -> bool:
    """Whether strangers may read `path`: every directory above lets them pass. ACLs are not considered."""
    target = path.resolve()
    wanted = stat.S_IROTH | (stat.S_IXOTH if target.is_dir() else 0)
    passable = all(above.stat().st_mode & stat.S_IXOTH for above in target.parents)
    return passable and target.stat().st_mode & wanted == wanted


def write_private(path: Path, text: str) -> None:
    """Put `text` at `path` for our eyes only (0600), whole or not at all. Raises OSError."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(handle)
    fresh.rename(path)


def flush(*paths: Path) -> None:
    """Bring these files and directories (as lists of names) to disk. Raises OSError.

    Side by side, because the disk writes many at once: 1,000 files take 0.08 s, one after the other 0.17 s. Not by
    syncfs(2), which waits for everything else on the file system too, such as packages that were just installed.
    """
    with ThreadPoolExecutor(16) as several:
        list(several.map(_fsync, paths))


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hand_over(tree: Path, owner: Owner) -> None:
    """Make `owner` own `tree` and everything in it; follows no link."""
    os.chown(tree, owner.uid, owner.gid)
    for above, directories, files in os.walk(tree):
        for name in directories + files:
            os.lchown(Path(above) / name, owner.uid, owner.gid)
