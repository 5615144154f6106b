"""What all verbs share: queries, pages, paths that hold their words."""

from leasebox.client.model import MessageSummary, Page
from leasebox.client.transport import Transport
from leasebox.client.verbs import Verbs, message_path, present
from tests.client.fake_server import MAIL, URL, FakeServer


def test_what_is_not_given_is_not_asked() -> None:
    assert present({"a": None, "b": 0, "c": "", "d": (), "e": ("x",)}) == {"b": 0, "c": "", "e": ("x",)}


def test_pages_are_turned_until_the_last() -> None:
    server = FakeServer()
    server.mails = [MAIL | {"message_id": f"msg_{number:02}"} for number in range(5)]
    sender = Transport(URL, http=server.http())
    sender.token = server.issue()
    found = list(Verbs(sender)._pages("/v2/messages", {"limit": 2, "q": None}, Page[MessageSummary]))
    assert [each.message_id for each in found] == [f"msg_{number:02}" for number in range(5)]
    assert [call.url.params.get("cursor") is None for call in server.calls] == [True, False, False]


def test_an_id_cannot_leave_its_place_in_a_path() -> None:
    assert message_path("msg_1", "/raw") == "/v2/messages/msg_1/raw"
    assert message_path("../admin?x=1#y", "/raw") == "/v2/messages/..%2Fadmin%3Fx%3D1%23y/raw"
