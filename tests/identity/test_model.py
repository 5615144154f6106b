"""What a caller is and may do."""

from datetime import UTC, datetime

import msgspec
import pytest

from leasebox.identity.model import SCOPES, Caller, Signer, did_pkh
from leasebox.values.errors import MissingScope, NotFound
from leasebox.values.ids import AgentId, KeyId, MailboxId, SessionId, TenantId

AT = datetime(2026, 11, 20, tzinfo=UTC)
MINE, OTHER = MailboxId.new(AT), MailboxId.new(AT)
ADDRESS = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
SESSION = Caller(
    TenantId.new(AT), AgentId.new(AT), SessionId.new(AT), frozenset(SCOPES), None, ADDRESS, 84532, AT, "active"
)
KEY = msgspec.structs.replace(
    SESSION,
    credential_id=KeyId.new(AT),
    scopes=frozenset({"mail:read"}),
    mailbox_ids=frozenset({MINE}),
    wallet_address=None,
    chain_id=None,
)


def test_the_scopes_are_the_contracts() -> None:
    text = "mail:allocate mail:read mail:send webhook:write billing:read billing:pay keys:write"
    assert tuple(text.split()) == SCOPES


def test_a_scope_is_had_or_missing() -> None:
    for scope in SCOPES:
        SESSION.require(scope)
    KEY.require("mail:read")
    with pytest.raises(MissingScope) as refused:
        KEY.require("mail:allocate")
    assert refused.value.fields == {"scope": "mail:allocate"}


def test_a_limited_key_reaches_its_mailboxes_only() -> None:
    SESSION.reach(OTHER)
    KEY.reach(MINE)
    with pytest.raises(NotFound):
        KEY.reach(OTHER)
    with pytest.raises(NotFound):
        msgspec.structs.replace(KEY, mailbox_ids=frozenset()).reach(MINE)


def test_who_acts_is_the_agent_or_the_key() -> None:
    assert SESSION.actor == str(SESSION.agent_id)
    assert KEY.actor == str(KEY.credential_id)
    assert (SESSION.bound_agent, KEY.bound_agent) == (None, KEY.agent_id)
    act = KEY.act(AT, "req_1", "lease.grant", "lse_1")
    assert (act.actor, act.tenant_id, act.request_id, act.outcome) == (KEY.actor, KEY.tenant_id, "req_1", "done")


def test_a_did_names_chain_and_wallet() -> None:
    wanted = f"did:pkh:eip155:84532:{ADDRESS}"
    assert did_pkh(84532, ADDRESS) == SESSION.did == Signer(ADDRESS, 84532, "sign-in").did == wanted
    assert KEY.did is None
