"""The agent's verbs against a server of the contract's shapes."""

import json
from datetime import UTC, datetime

import httpx
import pytest
from eth_account import Account

from leasebox.client import ApiError, Client, NoAgent, Unreachable, UnsafeChallenge
from tests.client.fake_server import MAIL, URL, Answer, FakeServer, problem

WAIT = ("GET", "/v2/messages/wait")


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def box(server: FakeServer) -> Client:
    return Client(URL, server.issue(), http=server.http(), sleep=lambda _: None)


def anonymous(server: FakeServer) -> Client:
    return Client(URL, http=server.http(), sleep=lambda _: None)


def test_a_wallet_signs_in_and_leases(server: FakeServer) -> None:
    key = Account.create()
    with anonymous(server) as box:
        session = box.sign_in(key)
        lease = box.lease(purpose="signup", ttl_hours=2, local_part="bob")
    assert session.wallet_address == key.address
    assert session.access_token.reveal() not in repr(session)
    assert json.loads(server.calls[-1].content) == {
        "agent_id": "agt_01",
        "purpose": "signup",
        "ttl_hours": 2,
        "local_part": "bob",
    }
    assert lease.address == "bob@inbox.example"
    assert lease.webmail_password is not None
    assert lease.webmail_password.reveal() == "pass-word"


def test_nothing_is_signed_for_another_server(server: FakeServer) -> None:
    server.shape_message = lambda message: message.replace("box.example wants", "bank.example wants")
    with pytest.raises(UnsafeChallenge):
        anonymous(server).sign_in(Account.create())
    assert server.paths() == ["POST /v2/auth/siwe/challenge"]


def test_the_chain_asked_for_is_the_chain_signed(server: FakeServer) -> None:
    server.shape_message = lambda message: message.replace("Chain ID: 10", "Chain ID: 1")
    with pytest.raises(UnsafeChallenge, match="chain 1, not 10"):
        anonymous(server).sign_in(Account.create(), chain_id=10)
    assert json.loads(server.calls[0].content)["chain_id"] == 10


def test_a_lost_session_is_renewed_by_the_wallet(server: FakeServer) -> None:
    box = anonymous(server)
    box.sign_in(Account.create())
    server.tokens.clear()
    assert box.me().tenant_id == "ten_01"
    assert server.paths().count("POST /v2/auth/siwe/verify") == 2


def test_the_callers_own_renewal_goes_first(server: FakeServer) -> None:
    renewed = []
    box = Client(URL, "stale", http=server.http(), on_expiry=lambda: renewed.append(1))
    with pytest.raises(ApiError, match="401"):
        box.me()
    assert renewed == [1]


def test_a_token_alone_is_not_renewed(server: FakeServer) -> None:
    with pytest.raises(ApiError, match="401 unauthorized"):
        Client(URL, "stale", http=server.http()).me()
    assert server.paths() == ["GET /v2/auth/me"]


def test_a_refused_sign_in_is_not_tried_for_ever(server: FakeServer) -> None:
    server.script["POST", "/v2/auth/siwe/verify"] = [problem(401, "unauthorized", reason="signature")]
    with pytest.raises(ApiError):
        anonymous(server).sign_in(Account.create())
    assert len(server.calls) == 2


def test_sign_out_ends_the_session(server: FakeServer) -> None:
    box = anonymous(server)
    box.sign_in(Account.create())
    box.sign_out()
    assert not server.tokens
    with pytest.raises(ApiError, match="401"):
        box.me()


def test_a_key_leases_for_its_agent(server: FakeServer, box: Client) -> None:
    box.lease(purpose="a")
    box.lease(purpose="b")
    assert server.paths().count("GET /v2/auth/me") == 1


def test_a_key_without_agent_must_name_one(server: FakeServer, box: Client) -> None:
    server.agent_id = None
    with pytest.raises(NoAgent):
        box.lease(purpose="signup")
    assert box.lease(purpose="signup", agent_id="agt_02").lease_id == "lse_01"


def test_leases_change(box: Client) -> None:
    assert box.get_lease("lse_01").lease_status == "active"
    assert box.pause("lse_01").lease_status == "paused"
    assert box.resume("lse_01").lease_status == "active"
    assert box.renew("lse_01", 3).lease_id == "lse_01"
    assert box.release("lse_01").lease_status == "released"


def test_ids_stay_inside_their_path(server: FakeServer, box: Client) -> None:
    with pytest.raises(ApiError, match="404"):
        box.release("../../v2/x?y#z")
    assert server.calls[-1].url.raw_path == b"/v2/mailboxes/leases/..%2F..%2Fv2%2Fx%3Fy%23z/release"


def test_lists_go_on_page_by_page(server: FakeServer, box: Client) -> None:
    server.mails = [MAIL | {"message_id": f"msg_{number}"} for number in range(5)]
    mails = box.messages("mbx_01", q="code", since=datetime(2026, 11, 20, tzinfo=UTC), page_size=2)
    assert next(mails).message_id == "msg_0"
    assert len(server.calls) == 1
    assert [mail.message_id for mail in mails] == ["msg_1", "msg_2", "msg_3", "msg_4"]
    assert dict(server.calls[0].url.params) == {
        "mailbox_id": "mbx_01",
        "q": "code",
        "since": "2026-11-20T00:00:00Z",
        "limit": "2",
    }
    assert [lease.address for lease in box.leases(status="active")] == ["quiet-otter@inbox.example"]


def test_a_message_is_read_whole(box: Client) -> None:
    assert box.message("msg_01").text == "Your code is 428193"
    assert box.raw("msg_01") == b"Subject: x\r\n\r\n\xff"
    assert box.attachment("msg_01", "att_01") == b"abc"


def test_runtime_needs_no_credential(server: FakeServer) -> None:
    runtime = anonymous(server).runtime()
    assert runtime.mailbox_domain == "inbox.example"
    assert runtime.smtp is not None
    assert runtime.smtp.port == 2525


def test_wait_asks_until_something_comes(server: FakeServer, box: Client) -> None:
    server.script[WAIT] = [Answer(204), Answer(204)]
    found = box.wait("mbx_01", timeout_s=200, has="otp", sender="shop", subject="code")
    assert found is not None
    assert found.otp_code == "428193"
    asked = [dict(call.url.params) for call in server.calls]
    assert asked[0] == asked[2]
    assert asked[0] == {
        "mailbox_id": "mbx_01",
        "has": "otp",
        "from": "shop",
        "subject": "code",
        "since": "1970-01-01T00:00:00Z",
        "timeout_s": "60",
    }


def test_wait_ends_in_time(server: FakeServer, box: Client) -> None:
    server.mails = []
    assert box.wait("mbx_01", timeout_s=0.05) is None
    assert server.calls[0].url.params["timeout_s"] == "1"


def test_wait_survives_a_restart_and_misses_nothing(server: FakeServer, box: Client) -> None:
    since = datetime(2026, 11, 20, 9, tzinfo=UTC)
    server.script[WAIT] = [
        *[httpx.ReadError("cut")] * 5,
        problem(503, "unavailable", retry_after=1),
        Answer(502, content=b"<html>"),
        Answer(204),
    ]
    assert box.wait("mbx_01", timeout_s=30, since=since) is not None
    assert {call.url.params["since"] for call in server.calls} == {"2026-11-20T09:00:00Z"}


def test_wait_tells_of_a_server_that_stays_away(server: FakeServer) -> None:
    server.script[WAIT] = [httpx.ConnectError("refused")] * 10_000
    box = Client(URL, server.issue(), http=server.http(), sleep=lambda _: None)
    with pytest.raises(Unreachable):
        box.wait("mbx_01", timeout_s=0.05)


def test_wait_goes_on_after_the_mail_it_gave(server: FakeServer, box: Client) -> None:
    for since in (None, None, "msg_00", datetime(2026, 11, 20, tzinfo=UTC)):
        box.wait("mbx_01", since=since)
    asked = [call.url.params["since"] for call in server.calls]
    assert asked == ["1970-01-01T00:00:00Z", "msg_01", "msg_00", "2026-11-20T00:00:00Z"]


def test_wait_bears_a_limit_for_as_long_as_it_was_told(server: FakeServer) -> None:
    slept: list[float] = []
    box = Client(URL, server.issue(), http=server.http(), sleep=slept.append)
    server.script[WAIT] = [problem(429, "rate_limited", retry_after=7), problem(503, "unavailable")]
    assert box.wait("mbx_01", timeout_s=60) is not None
    assert slept == [7, 1.0]


def test_wait_tells_refusals_at_once(server: FakeServer, box: Client) -> None:
    server.script[WAIT] = [problem(403, "mailbox_paused")]
    with pytest.raises(ApiError, match="mailbox_paused"):
        box.wait("mbx_01", timeout_s=30)
