"""`leasebox config check`: all settings as they would be used, no secret among them."""

from pathlib import Path

from leasebox.config import DOCUMENTED
from tests.cli.stage import environment, leasebox

CANARY = "c4n4ry-" * 8


def test_every_setting_is_shown_and_no_secret(tmp_path: Path) -> None:
    more = {
        "LEASEBOX_SECRET": CANARY,
        "LEASEBOX_RELAY": f"smtp://u:{CANARY}@h",
        "LEASEBOX_MAIL_DOMAIN": "a.example,b.example",
        "LEASEBOX_SMTP_RATE": "0",
        "LEASEBOX_DNS": "192.0.2.1,[::1]:54",
    }
    done = leasebox(environment(tmp_path, **more), "config", "check")
    shown = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert done.returncode == 0
    assert list(shown) == [setting.name for setting in DOCUMENTED]
    assert CANARY not in done.stdout
    assert shown["LEASEBOX_MAIL_DOMAIN"] == "a.example,b.example"
    assert shown["LEASEBOX_SIGNIN_RATE"] == "60 in 60 s"
    assert shown["LEASEBOX_SMTP_RATE"] == "0"
    assert shown["LEASEBOX_DNS"] == "192.0.2.1:53,[::1]:54"
    assert shown["LEASEBOX_RELAY"] == "Secret(***)"
    assert shown["DATABASE_URL"] == ""
    assert not (tmp_path / "home").exists()


def test_faults_end_with_status_2(tmp_path: Path) -> None:
    done = leasebox(environment(tmp_path, LEASEBOX_SMTP="25", LEASEBOX_IMAP="143"), "config", "check")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
