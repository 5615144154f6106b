"""The main job as its users live it: `leasebox up`, a wallet, a lease, a real mail, its code, the end. And what may
befall it: killed roles and engines, a second start, a stop in the middle, a crash of everything."""

import contextlib
import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.infra.homes import alive, eventually, offspring, serves
from tests.instance import Instance, up
from tests.tours.walker import SENDER, Walker, code_mail, command, kill, post, processes, refusal, soon

FREE = {"LEASEBOX_SIGNIN_RATE": "0", "LEASEBOX_TENANT_RATE": "0", "LEASEBOX_SMTP_RATE": "0"}
MAIL = b"""\
From: Shop <no-reply@shop.example>\r
To: you@inbox.leasebox.test\r
Subject: Welcome =?utf-8?q?to_Caf=C3=A9?=\r
Message-ID: <1@shop.example>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
Content-Type: text/html; charset=utf-8\r
Content-Transfer-Encoding: 8bit\r
\r
<p>Your verification code is <b>739&#49;64</b>. Ou: caf\xc3\xa9.</p>\r
<a href="https://shop.example/verify?token=9f3kq7Zx1LmP0aBc&amp;u=7">Confirm your email</a>\r
..leading dots\r
.\r
--b\r
Content-Type: application/pdf; name=a.pdf\r
Content-Disposition: attachment; filename=a.pdf\r
Content-Transfer-Encoding: base64\r
\r
JVBERi0=\r
--b--\r
trailing space \r
""".replace(b"\r\n.\r\n", b"\r\n. \r\n")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with up(tmp_path_factory.mktemp("tour") / "home", **FREE) as running:
        yield running


@pytest.fixture
def walker(box: Instance) -> Iterator[Walker]:
    with Walker(box) as signed_in:
        yield signed_in


def test_the_main_job(box: Instance, walker: Walker) -> None:
    lease = walker.lease(local_part="ada", metadata={"run": 7})
    assert (lease["address"], lease["lease_status"]) == ("ada@inbox.leasebox.test", "active")
    assert lease["account_id"] == lease["mailbox_id"]
    waiting = walker.waiting(lease["mailbox_id"], has="otp")
    time.sleep(0.3)
    assert post(box, MAIL, lease["address"]) == {}
    found = waiting.result().json()
    assert (found["otp_code"], found["parsed_status"]) == ("739164", "parsed")
    assert found["verification_link"] == "https://shop.example/verify?token=9f3kq7Zx1LmP0aBc&u=7"
    assert (found["sender"], found["sender_domain"], found["subject"]) == (SENDER, "shop.example", "Welcome to Café")
    assert (found["lease_id"], found["has_attachments"]) == (lease["lease_id"], True)
    path = f"/v2/messages/{found['message_id']}"
    raw = walker.http.get(f"{path}/raw").content
    trace, mark, received = raw.partition(b"From: Shop")
    assert mark + received == MAIL
    assert trace.startswith(f"Return-Path: <{SENDER}>\r\n".encode())
    assert b"\r\nReceived: from client.example" in trace
    whole = walker.http.get(path).json()
    pdf = walker.http.get(f"{path}/attachments/{whole['attachments'][0]['attachment_id']}")
    assert pdf.content == b"%PDF-"
    assert pdf.headers["content-disposition"].startswith("attachment;")
    assert [each["message_id"] for each in walker.http.get("/v2/messages").json()["items"]] == [found["message_id"]]
    ended = [walker.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/release") for _ in range(2)]
    assert [answer.status_code for answer in ended] == [202, 202]
    assert ended[0].json() == ended[1].json()
    assert ended[0].json()["lease_status"] == "released"
    assert refusal(box, lease["address"]) == 550
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        post(box, code_mail("111111"), lease["address"])
    assert walker.waiting(lease["mailbox_id"], subject="another").result().status_code == 410
    assert walker.http.get(f"{path}/raw").content == raw, "its mail stays readable for the retention"
    written = (box.home.parent / f"{box.home.name}.log").read_text()
    assert written.count('"event":"request"') >= 8
    for secret in (walker.session["access_token"], lease["webmail_password"], "739164", "9f3kq7Zx1LmP0aBc"):
        assert secret not in written, "no log holds what a mail or a credential holds"


def test_the_main_job_by_the_command_line(box: Instance, tmp_path: Path) -> None:
    done = command(box, tmp_path, "login", "--generate", "--json")
    assert done.returncode == 0, done.stderr
    lease = json.loads(command(box, tmp_path, "lease", "--purpose", "tour", "--json").stdout)
    assert command(box, tmp_path, "leases").stdout.count(lease["address"]) == 1
    nothing = command(box, tmp_path, "wait", lease["address"], "--timeout", "1")
    assert (nothing.returncode, nothing.stdout) == (3, "")
    post(box, code_mail("246813"), lease["address"])
    assert command(box, tmp_path, "wait", lease["address"], "--code-only").stdout == "246813\n"
    listed = json.loads(command(box, tmp_path, "messages", lease["address"], "--json").stdout)["items"]
    assert [each["otp_code"] for each in listed] == ["246813"]
    shown = command(box, tmp_path, "show", listed[0]["message_id"])
    assert "Your verification code is 246813." in shown.stdout
    released = command(box, tmp_path, "release", lease["address"])
    assert (released.returncode, lease["lease_id"] in released.stdout) == (0, True)
    assert refusal(box, lease["address"]) == 550
    again = command(box, tmp_path, "wait", lease["address"], "--timeout", "1")
    assert (again.returncode, "lease_ended" in again.stderr) == (1, True)


@pytest.mark.parametrize("name", ["http", "smtp", "parser", "worker", "valkey", "postgres"])
def test_whatever_is_killed_comes_back_and_the_job_goes_on(box: Instance, walker: Walker, name: str) -> None:
    before = walker.lease()
    post(box, code_mail("135790"), before["address"])
    assert walker.code_of(before["mailbox_id"]) == "135790"
    pid = kill(box, name)
    statuses = []

    def well() -> bool:
        statuses.append(walker.http.get("/v2/auth/me").status_code)
        return walker.http.get("/readyz").status_code == 200 and processes(box).get(name, pid) != pid

    assert soon(well) < 10
    assert set(statuses) <= {200, 503}
    soon(lambda: refusal(box, before["address"]) == 250)
    lease = walker.lease()
    post(box, code_mail("864209"), lease["address"])
    assert walker.code_of(lease["mailbox_id"]) == "864209"
    assert walker.code_of(before["mailbox_id"]) == "135790", "nothing was lost"


def test_a_mail_accepted_while_no_parser_lives_is_read_by_the_next(box: Instance, walker: Walker) -> None:
    lease = walker.lease()
    pid = processes(box)["parser"]
    os.kill(pid, signal.SIGSTOP)
    post(box, code_mail("975318"), lease["address"])
    assert walker.http.get("/v2/messages").json()["items"] == []
    os.kill(pid, signal.SIGKILL)
    assert walker.code_of(lease["mailbox_id"]) == "975318"


def test_a_second_start_on_the_same_home_is_refused_in_one_line(box: Instance) -> None:
    environ = {
        **os.environ,
        "LEASEBOX_HOME": str(box.home),
        "LEASEBOX_HTTP": "127.0.0.1:0",
        "LEASEBOX_SMTP": "127.0.0.1:0",
        "LEASEBOX_SUBMISSION": "127.0.0.1:0",
    }
    argv = [sys.executable, "-P", "-m", "leasebox", "up"]
    second = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (second.returncode, second.stdout) == (2, "")
    assert len(second.stderr.splitlines()) == 1
    assert str(box.process.pid) in second.stderr
    assert httpx.get(f"{box.url}/readyz").status_code == 200


def test_stopped_or_crashed_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with up(home, **FREE) as box, Walker(box) as walker:
        lease = walker.lease()
        post(box, code_mail("100001"), lease["address"])
        assert walker.code_of(lease["mailbox_id"]) == "100001"
        waiting = walker.waiting(lease["mailbox_id"], timeout_s=60, has="link")
        half = half_sent(box, lease["address"])
        began = time.monotonic()
        box.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert finished(half, b"200002").startswith("250"), "a mail under way is taken to its end"
        assert waiting.result().status_code == 204
        assert box.process.wait(20) == 0
        assert time.monotonic() - began < 10
    with up(home, **FREE) as box, walker.elsewhere(box) as again:
        soon(lambda: again.codes() == {"100001", "200002"})
        os.kill(processes(box)["parser"], signal.SIGSTOP)  # so that it dies between commit and parse
        post(box, code_mail("300003"), lease["address"])
        family = offspring(box.process.pid)
        os.kill(box.process.pid, signal.SIGKILL)
        box.process.wait(10)
        assert eventually(lambda: not [pid for pid in family if alive(pid)])
    with up(home, **FREE) as box, walker.elsewhere(box) as again:
        soon(lambda: again.codes() == {"100001", "200002", "300003"})
        assert again.http.get(f"/v2/mailboxes/leases/{lease['lease_id']}").json()["lease_status"] == "active"


def half_sent(box: Instance, address: str) -> socket.socket:
    """An SMTP session in the middle of DATA."""
    connection = socket.create_connection((box.smtp_host, box.smtp_port), timeout=20)
    for line in (
        b"",
        b"EHLO client.example\r\n",
        b"MAIL FROM:<a@b.example>\r\n",
        b"RCPT TO:<%s>\r\n" % address.encode(),
        b"DATA\r\n",
    ):
        connection.sendall(line)
        reply = connection.recv(4096)
        assert reply[:1] in b"23", reply
    connection.sendall(b"Subject: half\r\n\r\nYour verification ")
    return connection


def finished(connection: socket.socket, code: bytes) -> str:
    connection.sendall(b"code is %s.\r\n.\r\n" % code)
    with connection:
        return connection.recv(4096).decode()


def test_several_http_processes_share_the_port_and_one_may_die(tmp_path: Path) -> None:
    with up(tmp_path / "home", LEASEBOX_WORKERS="3") as instance:
        children = Path(f"/proc/{instance.process.pid}/task/{instance.process.pid}/children").read_text().split()
        serving = [int(pid) for pid in children if serves(int(pid), "http")]
        assert len(serving) == 3
        os.kill(serving[0], signal.SIGKILL)
        answers = 0
        for _ in range(60):
            with contextlib.suppress(httpx.TransportError):
                answers += httpx.get(f"{instance.url}/healthz").status_code == 200
            time.sleep(0.1)
        assert answers >= 50
        again = Path(f"/proc/{instance.process.pid}/task/{instance.process.pid}/children").read_text().split()
        assert sum(serves(int(pid), "http") for pid in again) == 3
