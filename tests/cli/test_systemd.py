"""`leasebox systemd`: units that name only what exists, grant only what is needed, and that systemd itself accepts."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from leasebox.cli import COMMANDS
from leasebox.cli.systemd import UNITS, systemd, unit
from leasebox.config import DOCUMENTED, ROLE_NAMES

PROGRAM = Path("/opt/leasebox/bin/leasebox")
LISTEN_LOW = {"up", "smtp"}
ANALYZE = shutil.which("systemd-analyze")


def sections(text: str) -> dict[str, list[tuple[str, str]]]:
    """A unit's sections; raises for a line that systemd.syntax(7) does not know."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            now = found[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            assert re.fullmatch("[A-Z][A-Za-z]+", name), line
            now.append((name, value))
    return found


def values(name: str, key: str) -> list[str]:
    return [value for each, value in sections(unit(name, PROGRAM))["Service"] if each == key]


def test_there_is_one_for_everything_and_one_for_each_role() -> None:
    assert set(UNITS) == {"up", "migrate", *ROLE_NAMES}
    for name in UNITS:
        (command,) = values(name, "ExecStart")
        program, *words = command.split()
        assert program == str(PROGRAM)
        assert words[0] in COMMANDS
        assert words[1:] == ([name] if name in ROLE_NAMES else [])


@pytest.mark.parametrize("name", list(UNITS))
def test_only_settings_that_exist_are_named(name: str) -> None:
    text = unit(name, PROGRAM)
    settings = {setting.name: setting for setting in DOCUMENTED}
    named = re.findall(r"^#?Environment=(.+)$", text, re.MULTILINE)
    for assignment in " ".join(named).split():
        setting, _, value = assignment.partition("=")
        if value.startswith("%d/"):
            assert settings[setting.removesuffix("_FILE")].secret
            assert f"LoadCredential={value.removeprefix('%d/')}:/etc/leasebox/{value.removeprefix('%d/')}" in text
        else:
            assert setting in {*settings, "XDG_RUNTIME_DIR"}
    secrets = {setting.name for setting in DOCUMENTED if setting.secret}
    engines = set() if name != "up" else {"DATABASE_URL", "REDIS_URL"}  # it brings its own
    assert {each.removesuffix("_FILE") for each in re.findall(r"(\w+_FILE)=", text)} == secrets - engines


@pytest.mark.parametrize("name", list(UNITS))
def test_it_runs_as_a_user_of_its_own_with_no_more_than_it_needs(name: str) -> None:
    assert values(name, "User") == ["leasebox"]
    assert values(name, "NoNewPrivileges") == ["yes"]
    assert values(name, "ProtectSystem") == ["strict"]
    wanted = ["CAP_NET_BIND_SERVICE"] if name in LISTEN_LOW else [""]
    assert values(name, "CapabilityBoundingSet") == values(name, "AmbientCapabilities") == wanted
    assert values(name, "LimitCORE") == ["0"], "a core dump holds the master key"
    assert values(name, "MemoryMax")


def test_the_engines_sockets_are_not_in_the_units_own_tmp() -> None:
    """Operators' commands and `pg_dump` reach them beside the unit, as the same user."""
    assert values("up", "PrivateTmp") == ["yes"]
    assert values("up", "RuntimeDirectory") == ["leasebox"]
    assert "XDG_RUNTIME_DIR=%t/leasebox" in values("up", "Environment")
    assert values("http", "RuntimeDirectory") == []


def test_what_cannot_run_as_it_is_set_up_is_not_started_again() -> None:
    assert values("up", "RestartPreventExitStatus") == ["2"]
    assert values("migrate", "Type") == ["oneshot"]
    assert values("migrate", "Restart") == []


def test_the_command_prints_one_unit_and_warns_of_a_hidden_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.prefix", "/opt/leasebox")
    plain = CliRunner().invoke(systemd, [])
    assert (plain.exit_code, plain.stdout, plain.stderr) == (0, unit("up", PROGRAM), "")
    monkeypatch.setattr("sys.prefix", "/tmp/leasebox/.venv")
    hidden = CliRunner().invoke(systemd, ["smtp"])
    assert hidden.stdout == unit("smtp", Path("/tmp/leasebox/.venv/bin/leasebox"))
    assert "install leasebox below /opt" in hidden.stderr
    assert CliRunner().invoke(systemd, ["imap"]).exit_code == 2


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is absent")
@pytest.mark.parametrize("name", list(UNITS))
def test_systemd_accepts_it_and_finds_it_well_confined(name: str, tmp_path: Path) -> None:
    file = tmp_path / "leasebox.service"
    file.write_text(unit(name, Path("/bin/true")))
    accepted = subprocess.run([ANALYZE, "verify", file], capture_output=True, text=True, timeout=60, check=False)
    assert (accepted.returncode, accepted.stderr) == (0, "")
    argv = [ANALYZE, "security", "--offline=true", "--threshold=20", file]
    judged = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert judged.returncode == 0, judged.stdout.splitlines()[-1]
