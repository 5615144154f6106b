"""Roles and rights."""

from datetime import UTC, datetime

import pytest

from leasebox.admin.errors import RoleLacksRight
from leasebox.admin.model import RIGHTS, Admin, AdminSessionId, Right, Role, roles_with

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)


def an_admin(role: Role, wallet: str = "0x" + "ab" * 20) -> Admin:
    return Admin(wallet, role, AdminSessionId.new(AT), AT)


@pytest.mark.parametrize("right", Right)
@pytest.mark.parametrize("role", Role)
def test_a_right_is_had_or_refused_with_who_has_it(role: Role, right: Right) -> None:
    if right in RIGHTS[role]:
        an_admin(role).require(right)
        assert role in roles_with(right)
        return
    with pytest.raises(RoleLacksRight) as refused:
        an_admin(role).require(right)
    assert refused.value.fields == {"right": right.value, "roles": [each.value for each in roles_with(right)]}


def test_the_owner_has_all_and_the_viewer_looks() -> None:
    assert RIGHTS[Role.OWNER] == frozenset(Right)
    assert RIGHTS[Role.VIEWER] == {Right.LOOK}
    assert all(Right.LOOK in RIGHTS[role] for role in Role)
    assert not RIGHTS[Role.AUDITOR] & {Right.STEER, Right.BILL, Right.MONEY}


def test_answers_are_kept_by_wallet() -> None:
    one, same, other = an_admin(Role.OWNER), an_admin(Role.VIEWER), an_admin(Role.OWNER, "0x" + "cd" * 20)
    assert one.tenant_id == same.tenant_id != other.tenant_id
    assert one.actor == "wallet:0x" + "ab" * 20


def test_an_act_names_the_admin() -> None:
    act = an_admin(Role.OPERATOR).act(AT, "req", "lease.freeze", "lse_x", note="n")
    assert (act.actor, act.action, act.resource, act.detail) == (
        "wallet:0x" + "ab" * 20,
        "lease.freeze",
        "lse_x",
        {"note": "n"},
    )
