"""The master key that a home keeps for itself in `secret`, and how it is changed: beside it `secret.previous`.

Every step is one rename, so whoever dies in between leaves a home that starts and a change that can be gone on with.
`secret.used` holds the name of the key that the leasebox of this home was last started with, never the key.
"""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from leasebox.infra import confine
from leasebox.values.keys import Purpose, derive
from leasebox.values.secret import Secret


def fresh() -> Secret:
    """384 random bits."""
    return Secret(secrets.token_urlsafe(48))


def current(home: Path) -> Path:
    """Where the key is, if the home keeps one."""
    return home / "secret"


def previous(home: Path) -> Path:
    """Where the key before it is, while rows may need it."""
    return home / "secret.previous"


def name_of(master: Secret) -> str:
    """The public name of a master key, eight hexadecimal digits."""
    return derive(master, Purpose.MASTER).kid


def keep(home: Path, master: Secret) -> None:
    """Write the key down (0600) unless one is there. Call it while holding the home's lock. Raises OSError."""
    if not current(home).exists():
        confine.write_private(current(home), master.reveal() + "\n")


def note_use(home: Path, master: Secret) -> None:
    """Note that leasebox runs here with this key from now on. Call it while holding the home's lock. Raises OSError."""
    confine.write_private(home / "secret.used", name_of(master) + "\n")


def used(home: Path) -> str | None:
    """The name of the key that this home was last started with; None before its first start."""
    with contextlib.suppress(OSError):
        return (home / "secret.used").read_text().strip()
    return None


@contextlib.contextmanager
def changing(home: Path) -> Iterator[bool]:
    """Hold the right to change the key for as long as the block lasts; False where another process holds it."""
    handle = os.open(home / "secret.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def change(home: Path, master: Secret) -> Secret:
    """Put a fresh key in the place of `master`, which is kept as the previous one; the fresh one. Raises OSError.

    The previous one is written first: at no moment is a key lost that sealed something.
    """
    confine.write_private(previous(home), master.reveal() + "\n")
    confine.flush(home)
    made = fresh()
    confine.write_private(current(home), made.reveal() + "\n")
    confine.flush(home)
    return made


def forget_previous(home: Path) -> None:
    """Let go of the previous key for good. Raises OSError."""
    previous(home).unlink(missing_ok=True)
    confine.flush(home)
