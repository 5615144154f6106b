"""Two agents write to each other, and a stranger to one of them: both directions, as their users live them."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account

from leasebox.client import ApiError, Client, File, Lease
from leasebox.client.events import FIRST
from tests.instance import Instance, up
from tests.tours.walker import command, post

FREE = {"LEASEBOX_SIGNIN_RATE": "0", "LEASEBOX_TENANT_RATE": "0", "LEASEBOX_SMTP_RATE": "0"}
PRICES = """
[meters]
"message.send" = {free = 2, window = "day", price = "0.001000"}
"""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    home = tmp_path_factory.mktemp("letters")
    (home / "prices.toml").write_text(PRICES)
    with up(home / "home", **FREE, LEASEBOX_PRICES=str(home / "prices.toml")) as running:
        yield running


def agent(box: Instance) -> tuple[Client, Lease]:
    """Somebody new with a mailbox."""
    client = Client(box.url)
    client.sign_in(Account.create())
    return client, client.lease(purpose="letters")


def answer_of_a_stranger(to: str, message_id: str, text: str) -> bytes:
    return (
        f"From: Ada <ada@shop.example>\r\nTo: {to}\r\nSubject: Re: Lunch\r\nMessage-ID: <7@shop.example>\r\n"
        f"In-Reply-To: {message_id}\r\n\r\n{text}\r\n\r\n"
        "On Mon, Mar 2, 2026 at 10:01 AM Bob <bob@x.example> wrote:\r\n\r\n> Lunch?\r\n"
    ).encode()


def test_a_conversation_of_two_agents(box: Instance) -> None:
    (ada, hers), (bob, his) = agent(box), agent(box)
    with ada, bob:
        sent = ada.send(hers.mailbox_id, his.address, "Lunch", "At one?")
        assert (sent.submission_status, sent.accepted) == ("sent", (his.address,))
        got = bob.wait(his.mailbox_id, 20)
        assert got is not None
        assert (got.sender, got.subject, got.direction) == (hers.address, "Lunch", "inbound")
        bob.reply(got.message_id, "Yes, at one.", attachments=[File("menu.txt", b"soup")])
        back = ada.wait(hers.mailbox_id, 20)
        assert back is not None
        assert (back.subject, back.thread_id, back.has_attachments) == ("Re: Lunch", sent.thread_id, True)
        whole = ada.message(back.message_id)
        assert (whole.extracted_text or "").strip() == "Yes, at one."
        assert ada.attachment(whole.message_id, whole.attachments[0].attachment_id) == b"soup"
        (thread,) = ada.threads(hers.mailbox_id)
        assert (thread.message_count, thread.sent_count, thread.unread_count) == (2, 1, 1)
        assert thread.labels == ("received", "sent", "unread")
        assert {each.address for each in thread.participants} == {hers.address, his.address}
        read = ada.thread(thread.thread_id)
        assert [each.direction for each in read.messages] == ["outbound", "inbound"]
        assert [each.extracted_text.strip() for each in read.messages] == ["At one?", "Yes, at one."]
        (theirs,) = bob.threads()
        told = bob.thread(theirs.thread_id).messages
        assert [(each.direction, each.extracted_text.strip()) for each in told] == [
            ("inbound", "At one?"),
            ("outbound", "Yes, at one."),
        ]
        assert "> At one?" in (bob.message(told[1].message_id).text or "")
        assert ada.label_thread(thread.thread_id, remove=["unread"]).unread_count == 0
        assert [each.direction for each in ada.messages(q=his.address)] == ["inbound", "outbound"]
        assert [each.message_id for each in ada.messages(direction="outbound")] == [sent.message_id]
        assert ada.wait(hers.mailbox_id, 1) is None, "what one sends oneself is nothing to wait for"
        with pytest.raises(ApiError, match="404"):
            bob.thread(thread.thread_id)


def test_strangers_answers_come_home(box: Instance) -> None:
    bob, his = agent(box)
    with bob:
        sent = bob.send(his.mailbox_id, "Ada <ada@shop.example>", "Lunch", "Lunch?")
        ours = next(each.value for each in bob.message(sent.message_id).headers if each.name == "Message-ID")
        post(box, answer_of_a_stranger(his.address, ours, "Gladly."), his.address)
        post(box, answer_of_a_stranger(his.address, "<rewritten@relay.example>", "Or later?"), his.address)
        found = [bob.wait(his.mailbox_id, 20) for _ in range(2)]
        assert [each and each.thread_id for each in found] == [sent.thread_id] * 2
        texts = [each.extracted_text.strip() for each in bob.thread(sent.thread_id).messages]
        assert texts == ["Lunch?", "Gladly.", "Or later?"]
        attempt = bob.attempt(sent.send_attempt_id)
        assert [each.address for each in attempt.recipients] == ["ada@shop.example"]
        assert [each.send_attempt_id for each in bob.attempts(his.mailbox_id)] == [sent.send_attempt_id]


def test_a_client_pays_by_itself_for_what_is_not_free_any_more(box: Instance) -> None:
    (ada, hers), (bob, his) = agent(box), agent(box)
    with ada, bob:
        for number in range(4):
            ada.send(hers.mailbox_id, his.address, f"letter {number}", "x")
        subjects = {each.subject for each in bob.messages(his.mailbox_id)}
        deadline = time.monotonic() + 20
        while len(subjects) < 4 and time.monotonic() < deadline:
            time.sleep(0.1)
            subjects = {each.subject for each in bob.messages(his.mailbox_id)}
        assert subjects == {f"letter {number}" for number in range(4)}
    poor, mine = agent(box)
    with poor, Client(box.url, purse=None) as thrifty:
        thrifty.sign_in(Account.create())
        lease = thrifty.lease(purpose="x")
        for number in range(2):
            thrifty.send(lease.mailbox_id, mine.address, f"free {number}", "x")
        with pytest.raises(ApiError) as told:
            thrifty.send(lease.mailbox_id, mine.address, "not free", "x")
        assert (told.value.status, told.value.error) == (402, "payment_required")


def test_events_are_followed(box: Instance) -> None:
    (ada, hers), (bob, his) = agent(box), agent(box)
    with ada, bob:
        ada.send(hers.mailbox_id, his.address, "Hello", "x")
        event = next(bob.events(["message.received"], [his.mailbox_id], after=FIRST, timeout_s=20))
        got = bob.wait(his.mailbox_id, 20)
        assert got is not None
        assert (event.type, event.data["message_id"]) == ("message.received", got.message_id)


def test_the_same_by_the_command_line(box: Instance, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for place in (first, second):
        assert command(box, place, "login", "--generate").returncode == 0
    hers, his = (json.loads(command(box, place, "lease", "--json").stdout) for place in (first, second))
    (tmp_path / "menu.txt").write_text("soup")
    words = ("--to", his["address"], "--subject", "Lunch", "--text", "At one?", "--attach", str(tmp_path / "menu.txt"))
    sent = json.loads(command(box, first, "send", *words, "--json").stdout)
    got = json.loads(command(box, second, "wait", his["address"], "--json").stdout)
    assert (got["sender"], got["has_attachments"]) == (hers["address"], True)
    assert command(box, second, "reply", got["message_id"], "--text", "Yes, at one.").returncode == 0
    back = json.loads(command(box, first, "wait", hers["address"], "--json").stdout)
    assert back["thread_id"] == sent["thread_id"]
    listed = command(box, first, "threads").stdout
    assert all(each in listed for each in ("Lunch", his["address"], sent["thread_id"]))
    shown = command(box, first, "threads", sent["thread_id"], "--read").stdout
    assert shown.index("At one?") < shown.index("Yes, at one.")
    assert "unread" not in json.loads(command(box, first, "threads", sent["thread_id"], "--json").stdout)["labels"]
    tried = command(box, first, "attempts", sent["send_attempt_id"]).stdout
    assert all(each in tried for each in (his["address"], "delivered"))
    heard = command(box, first, "listen", "--after", FIRST, "--type", "message.received", "--count", "1", "--json")
    assert json.loads(heard.stdout)["data"]["message_id"] == back["message_id"]
    refused = command(box, first, "send", "--to", "nobody", "--text", "x")
    assert (refused.returncode, "422" in refused.stderr, refused.stdout) == (1, True, "")
