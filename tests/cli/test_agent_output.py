"""Output that programs can rely on and that mail cannot abuse."""

import json

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from leasebox.cli.agent_output import AgentCommand, answer, encode, facts, one_line, plain, table
from leasebox.client import ApiError, Unreachable
from leasebox.values.secret import Secret

REJECTED: list[object] = [{"address": "a@b.example", "message": "Gone.\nOn\u202e."}, "x", {"address": 1}]


@click.command(cls=AgentCommand)
@click.option("--how", default="well")
def command(how: str) -> None:
    if how == "refused":
        raise ApiError(
            409, "address_taken", "It is\x1b[31m taken.", fix="Choose.", request_id="r1", fields={"name": "x"}
        )
    if how == "rejected":
        raise ApiError(422, "unprocessable", "Nobody.", fix="Choose.", fields={"rejected": REJECTED})
    if how == "away":
        raise Unreachable("Nobody answers.", fix="Start it.")
    answer({"how": how}, lambda console: console.print("[bold]fine[/bold]"))


def test_people_and_programs_are_answered_apart() -> None:
    assert CliRunner().invoke(command).stdout == "[bold]fine[/bold]\n"
    done = CliRunner().invoke(command, ["--json"])
    assert json.loads(done.stdout) == {"how": "well"}
    assert (done.exit_code, done.stderr) == (0, "")


def test_refusals_end_with_status_1() -> None:
    done = CliRunner().invoke(command, ["--how", "refused"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "leasebox: 409 address_taken: It is[31m taken.",
        "  what to do: Choose.",
        "  request_id: r1",
    ]
    done = CliRunner().invoke(command, ["--how", "away"])
    assert (done.exit_code, done.stderr) == (1, "leasebox: Nobody answers.\n  what to do: Start it.\n")


def test_refused_recipients_are_listed_whatever_the_server_says_of_them() -> None:
    done = CliRunner().invoke(command, ["--how", "rejected"])
    assert done.stderr.splitlines()[1:3] == ["  not to: a@b.example: Gone. On.", "  not to: 1:"]


def test_refusals_are_json_where_that_is_asked_for() -> None:
    done = CliRunner().invoke(command, ["--json", "--how", "refused"])
    assert done.stdout == ""
    told = json.loads(done.stderr)
    assert (told["status"], told["error"], told["fix"], told["name"]) == (409, "address_taken", "Choose.", "x")
    assert json.loads(CliRunner().invoke(command, ["--json", "--how", "away"]).stderr)["error"] == "unreachable"


def test_wrong_use_ends_with_status_2() -> None:
    assert CliRunner().invoke(command, ["--nonsense"]).exit_code == 2


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\x1b[2Jb", "a[2Jb"),
        ("a\x9b31mb", "a31mb"),
        ("a\rb", "ab"),
        ("a\x07\x08b", "ab"),
        ("gpj\u202eexe.", "gpjexe."),
        ("a\u2066b\u200bc\ufeffd", "abcd"),
        ("a\u2028b\ud800c\ue000", "abc"),
        ("Grüße, 你好\n\tx", "Grüße, 你好\n\tx"),
    ],
)
def test_mail_cannot_steer_the_terminal(hostile: str, shown: str) -> None:
    assert plain(hostile) == shown


def test_one_line_is_one_line() -> None:
    assert one_line(" a\r\nb\t c\n") == "a b c"


def test_nothing_is_cut_nor_read_as_markup() -> None:
    console = Console(width=240, file=None, record=True, markup=False)
    with console.capture() as drawn:
        console.print(table(("id", "subject"), [("msg_" + "x" * 26, "[red]\x1b[1mhello\nthere"), ("b", None)]))
        console.print(facts([("name", "[value]"), ("none", None), ("empty", "")]))
    assert "msg_" + "x" * 26 in drawn.get()
    assert "[red][1mhello there" in drawn.get()
    assert "[value]" in drawn.get()
    assert "none" not in drawn.get()


def test_json_holds_secrets_that_were_asked_for() -> None:
    assert encode({"password": Secret("pw")}) == b'{"password":"pw"}'
    with pytest.raises(TypeError):
        encode(object())
