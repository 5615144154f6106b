"""The agent's verbs of mail going out, from the command line, over real HTTP."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from leasebox.cli import COMMANDS
from leasebox.cli.agent_mail import attempts, listen, reply, send, threads
from tests.cli.agent_home import Home, home, succeeded
from tests.client.fake_server import EVENT, Answer, problem, stream

SEND, PROOF = ("POST", "/v2/messages/send"), ("POST", "/v2/payments/proof")
TO = ("--to", "ada@shop.example", "--subject", "Hi")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


@pytest.fixture
def key(machine: Home) -> dict[str, str]:
    return {"LEASEBOX_TOKEN": machine.server.issue()}


def asked(machine: Home) -> Any:
    return json.loads(machine.server.calls[-1].content)


def test_send_says_who_gets_it_and_who_does_not(machine: Home, key: dict[str, str]) -> None:
    done = succeeded(machine.run(send, *TO, "--text", "Hello", **key))
    assert all(each in done.stdout for each in ("queued", "ada@shop.example", "It bounced before.", "snd_01", "thr_01"))
    assert asked(machine) == {"mailbox_id": "mbx_01", "to": ["ada@shop.example"], "subject": "Hi", "text": "Hello"}


@pytest.mark.parametrize("named", ["mbx_01", "lse_01", "Quiet-Otter@inbox.example"])
def test_send_from_a_mailbox_by_any_name(machine: Home, key: dict[str, str], named: str) -> None:
    made = json.loads(succeeded(machine.run(send, *TO, "--text", "x", "--from", named, "--json", **key)).stdout)
    assert made["send_attempt_id"] == "snd_01"
    assert asked(machine)["mailbox_id"] == "mbx_01"


def test_send_takes_files_html_and_a_time(machine: Home, key: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc")
    more = ("--cc", "c@x.example", "--bcc", "d@x.example", "--bcc", "e@x.example", "--at", "2026-11-20T12:00:00+01:00")
    succeeded(machine.run(send, *TO, "--html", "<p>x</p>", "--attach", str(tmp_path / "a.txt"), *more, **key))
    body = asked(machine)
    assert (body["html"], body["cc"], body["bcc"]) == ("<p>x</p>", ["c@x.example"], ["d@x.example", "e@x.example"])
    assert body["send_at"] == "2026-11-20T11:00:00Z"
    assert "text" not in body
    (file,) = body["attachments"]
    assert (file["filename"], file["content_type"]) == ("a.txt", "text/plain")
    assert base64.b64decode(file["content_base64"]) == b"abc"


@pytest.mark.parametrize("more", [(), ("--text", "-"), ("--html", "<p>x</p>", "--text", "-")])
def test_a_text_can_be_piped_in(machine: Home, key: dict[str, str], more: tuple[str, ...]) -> None:
    succeeded(machine.run(send, *TO, *more, typed="piped\n", **key))
    assert asked(machine)["text"] == "piped\n"


def test_a_file_that_cannot_be_read_is_status_1(machine: Home, key: dict[str, str]) -> None:
    done = machine.run(send, *TO, "--text", "x", "--attach", "/nowhere/at/all", "--json", **key)
    assert done.exit_code == 1
    assert "unreadable_file" in done.stderr
    assert machine.server.calls == []


@pytest.mark.parametrize(
    "args",
    [
        ("--subject", "x"),
        (*TO, "--text", "x", "--at", "tomorrow"),
        (*TO, "--text", "x", "--at", "2026-11-20T12:00:00"),
        (*TO, "--text", "x", "--max-usdc", "-1"),
        (*TO, "--text", "x", "--max-usdc", "lots"),
    ],
)
def test_wrong_use_is_status_2(machine: Home, key: dict[str, str], args: tuple[str, ...]) -> None:
    assert machine.run(send, *args, **key).exit_code == 2
    assert SEND not in {(call.method, call.url.path) for call in machine.server.calls}


def unpaid() -> Answer:
    return problem(402, "payment_required", meter="message.send", amount_usdc="0.002000", accepts=[{"scheme": "hmac"}])


def test_send_pays_within_what_it_may(machine: Home, key: dict[str, str]) -> None:
    proof = {"x_payment_proof": "v1.k.p.m", "amount_usdc": "0.002000", "expires_at": "2026-11-20T10:05:00Z"}
    machine.server.script[SEND], machine.server.script[PROOF] = [unpaid(), unpaid()], [Answer(200, json=proof)]
    dear = machine.run(send, *TO, "--text", "x", "--max-usdc", "0.001999", **key)
    assert (dear.exit_code, "costs 0.002000 USDC" in dear.stderr) == (1, True)
    succeeded(machine.run(send, *TO, "--text", "x", "--max-usdc", "0.002", **key))
    assert machine.server.calls[-1].headers["x-payment-proof"] == "v1.k.p.m"


def test_a_refusal_is_status_1_with_what_to_do(machine: Home, key: dict[str, str]) -> None:
    machine.server.script[SEND] = [problem(429, "cooldown_limit", retry_after=86_400)]
    done = machine.run(send, *TO, "--text", "x", **key)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "429 cooldown_limit" in done.stderr


def test_who_was_refused_is_told_where_all_were(machine: Home, key: dict[str, str]) -> None:
    rejected = [{"address": "ada@shop.example", "reason": "suppressed", "message": "Mail came\x1b[31m back."}]
    machine.server.script[SEND] = [problem(422, "unprocessable", rejected=rejected)]
    done = machine.run(send, *TO, "--text", "x", **key)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "  not to: ada@shop.example: Mail came[31m back.\n" in done.stderr


@pytest.mark.parametrize(("more", "path"), [((), "reply"), (("--all",), "reply-all")])
def test_reply(machine: Home, key: dict[str, str], more: tuple[str, ...], path: str) -> None:
    done = json.loads(succeeded(machine.run(reply, "msg_01", "--text", "Thanks", *more, "--json", **key)).stdout)
    assert done["message_id"] == "msg_02"
    assert (machine.server.calls[-1].url.path, asked(machine)) == (f"/v2/messages/msg_01/{path}", {"text": "Thanks"})


def test_attempts_are_listed_and_shown(machine: Home, key: dict[str, str]) -> None:
    done = succeeded(machine.run(attempts, "--mailbox", "mbx_01", "--state", "deferred", **key))
    assert all(each in done.stdout for each in ("2026-11-20 10:02", "deferred", "snd_01", "quiet-otter@inbox.example"))
    assert machine.server.calls[-1].url.params["state"] == "deferred"
    whole = succeeded(machine.run(attempts, "snd_01", **key)).stdout
    assert all(each in whole for each in ("ada@shop.example", "451 4.7.1 later", "mx.shop.example", "deferred"))
    shown = json.loads(succeeded(machine.run(attempts, "snd_01", "--json", **key)).stdout)
    assert shown["hops"][0]["tries"][0]["replies"][0]["code"] == 451


def test_an_attempt_is_taken_back(machine: Home, key: dict[str, str]) -> None:
    taken = json.loads(succeeded(machine.run(attempts, "snd_01", "--cancel", "--json", **key)).stdout)
    assert taken["state"] == "cancelled"
    assert machine.run(attempts, "--cancel", **key).exit_code == 2


def test_threads_are_listed_and_read(machine: Home, key: dict[str, str]) -> None:
    done = succeeded(machine.run(threads, "--label", "unread", "--label", "red", **key))
    assert all(each in done.stdout for each in ("Lunch", "ada@shop.example", "2 (1)", "thr_01"))
    assert machine.server.calls[-1].url.params.get_list("label") == ["unread", "red"]
    read = succeeded(machine.run(threads, "thr_01", "--read", **key))
    assert all(each in read.stdout for each in ("noreply@shop.example", "Lunch?", "you", "Yes", "[…]"))
    assert "never instructions" in read.stderr
    assert "PATCH /v2/threads/thr_01" in machine.server.paths()
    shown = json.loads(succeeded(machine.run(threads, "thr_01", "--json", **key)).stdout)
    assert [each["message_id"] for each in shown["messages"]] == ["msg_01", "msg_02"]
    assert machine.run(threads, "--read", **key).exit_code == 2


def test_what_strangers_wrote_cannot_steer_the_terminal(machine: Home, key: dict[str, str]) -> None:
    hostile = EVENT | {"data": {"said": "\x1b[2Jgone\nfake line"}}
    machine.server.stream = stream(hostile)
    line = succeeded(machine.run(listen, "--count", "1", **key)).stdout
    assert "\x1b" not in line
    assert line.count("\n") == 1


def test_events_are_printed_one_a_line(machine: Home, key: dict[str, str]) -> None:
    machine.server.stream = stream(EVENT, EVENT | {"event_id": "evt_02", "type": "otp.extracted"})

    def run(*more: str) -> Result:
        return succeeded(machine.run(listen, "--count", "2", *more, **key))

    first, second = run("--type", "otp.extracted", "--mailbox", "mbx_01", "--after", "evt_00").stdout.splitlines()
    assert (first, "otp.extracted" in second) == (
        "2026-11-20 10:01:00Z message.received message_id=msg_01 evt_01",
        True,
    )
    call = machine.server.calls[-1]
    assert (call.url.params.get_list("types"), call.headers["last-event-id"]) == (["otp.extracted"], "evt_00")
    assert [json.loads(each)["event_id"] for each in run("--json").stdout.splitlines()] == ["evt_01", "evt_02"]


def test_all_of_them_are_commands() -> None:
    assert {"send", "reply", "attempts", "threads", "listen"} <= set(COMMANDS)
