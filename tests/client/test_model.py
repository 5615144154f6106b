"""Answers are read tolerantly where a server may grow, and strictly where a value would be wrong."""

import json

import msgspec
import pytest

from leasebox.client import model
from leasebox.client.model import Lease, Message, Page, Session, decode
from leasebox.mail import views
from leasebox.values.secret import Secret
from tests.client.fake_server import LEASE, MAIL, WHOLE


def test_new_fields_are_ignored_and_missing_ones_have_defaults() -> None:
    lease = decode(json.dumps(LEASE | {"colour": "blue"}).encode(), Lease)
    assert lease.address == "quiet-otter@inbox.example"
    assert lease.webmail_password is None


def test_a_whole_message_is_read() -> None:
    message = decode(json.dumps(WHOLE).encode(), Message)
    assert message.extraction.codes[0].code == "428193"
    assert message.attachments[0].filename == "a.txt"
    assert message.auth.dkim == "pass"


@pytest.mark.parametrize(
    ("view", "kept"),
    [
        (views.MessageItem, model.MessageSummary),
        (views.MessageView, model.Message),
        (views.AttachmentView, model.Attachment),
        (views.AuthView, model.Authentication),
        (views.CodeView, model.Code),
        (views.LinkView, model.Link),
    ],
)
def test_nothing_that_the_service_tells_of_a_mail_is_dropped(
    view: type[msgspec.Struct], kept: type[msgspec.Struct]
) -> None:
    assert set(view.__struct_fields__) <= set(kept.__struct_fields__)


def test_pages_hold_their_kind() -> None:
    page = decode(json.dumps({"items": [MAIL], "next_cursor": "x"}).encode(), Page[Message])
    assert page.items[0].message_id == "msg_01"
    assert page.next_cursor == "x"


def test_passwords_and_tokens_are_secrets() -> None:
    lease = decode(json.dumps(LEASE | {"webmail_password": "pass-word"}).encode(), Lease)
    assert lease.webmail_password == Secret("pass-word")
    assert "pass-word" not in repr(lease)


@pytest.mark.parametrize("token", [5, None, ["x"]])
def test_a_token_that_is_no_text_is_refused(token: object) -> None:
    body = {"expires_in": 1, "agent_id": "a", "tenant_id": "t", "did": "d", "wallet_address": "w", "chain_id": 1}
    with pytest.raises(msgspec.ValidationError):
        decode(json.dumps(body | {"access_token": token}).encode(), Session)


def test_values_do_not_change() -> None:
    lease = decode(json.dumps(LEASE).encode(), Lease)
    with pytest.raises(AttributeError):
        lease.address = "other@inbox.example"  # type: ignore[misc]
