"""Runs the first session that README.md shows against a fresh leasebox, and writes what was printed into README.md.

    .venv/bin/python .ci/first_session.py      needs the default ports; rewrites README.md between its two marks

Nothing is edited but blanks at the ends of lines: each command runs in a shell as it stands there, in a home directory
of its own.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- A first session begins -->\n", "<!-- A first session ends. -->\n"
MAIL = '''python3 - <<'PY'
import smtplib
mail = """From: Acme <no-reply@acme.example>
Subject: Confirm your address

Your code is 481 920. It expires in 10 minutes.
Or open https://acme.example/verify?token=Zk3vP0aQ8rT1 to confirm.
"""
smtplib.SMTP("127.0.0.1", 2525).sendmail("no-reply@acme.example", "acme-signup@inbox.leasebox.test", mail)
PY'''
COMMANDS = (
    ".venv/bin/leasebox login --generate",
    ".venv/bin/leasebox lease --purpose signup --name acme-signup",
    MAIL,
    ".venv/bin/leasebox wait --has otp --code-only",
    ".venv/bin/leasebox messages",
    ".venv/bin/leasebox release acme-signup@inbox.leasebox.test",
)
TEXT = """`make run` prints where it listens, and a first command to try:

```
{up}```

In another shell an agent makes itself a wallet, leases an address and waits for a code. The mail may come from
anywhere; here from a few lines of Python:

```
{session}```

"""


def main() -> None:
    """Raises CalledProcessError when a command of the session fails."""
    with tempfile.TemporaryDirectory() as home:
        # As in a terminal of 140 columns; no setting of whoever runs this may show.
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environ = {**kept, "HOME": home, "COLUMNS": "140"}
        up = subprocess.Popen(
            [".venv/bin/leasebox", "up"],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            ready = _until_empty(up)
            session = "".join(f"$ {command}\n{_run(command, environ)}" for command in COMMANDS)
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(30)
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    readme.write_text(before + BEGIN + TEXT.format(up=ready, session=session) + END + after)


def _until_empty(up: "subprocess.Popen[str]") -> str:
    """What `leasebox up` prints when it is ready, up to the command that it proposes."""
    assert up.stdout is not None
    lines = ""
    for line in up.stdout:
        lines += line
        if line.startswith("  Try"):
            return lines
    sys.exit(f"leasebox did not start; are its ports free?\n{lines}")


def _run(command: str, environ: dict[str, str]) -> str:
    ran = subprocess.run(
        command,
        cwd=ROOT,
        env=environ,
        shell=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ran.returncode:
        sys.exit(f"{command}\n{ran.stdout}")
    return re.sub(r" +$", "", ran.stdout, flags=re.MULTILINE)


main()
