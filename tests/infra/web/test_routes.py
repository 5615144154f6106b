"""How routes are declared: every route of the real application says what it needs, and is closed until it does."""

from typing import Any

import pytest
from litestar import Controller, get

from leasebox.identity.model import SCOPES
from leasebox.infra.web.routes import bind, known_id, needs, or_nothing, public, signed_in
from leasebox.values.errors import NotFound
from leasebox.values.ids import LeaseId, MailboxId
from tests.kit import House
from tests.kit_mail import shared_house

__all__ = ["shared_house"]


@pytest.mark.parametrize(
    "text", ["", "lse_1", "mbx_01h455vb4pex5vsknk084sn02q", "'; DROP TABLE leases; --", "x" * 9999]
)
def test_a_malformed_id_names_nothing(text: str) -> None:
    with pytest.raises(NotFound, match="There is no lease with this id"):
        known_id(LeaseId, text)


def test_an_id_is_read_as_its_kind() -> None:
    found = known_id(MailboxId, "mbx_01h455vb4pex5vsknk084sn02q")
    assert (type(found), str(found)) == (MailboxId, "mbx_01h455vb4pex5vsknk084sn02q")


def test_a_declaration_names_all_that_a_route_can_refuse() -> None:
    assert needs("mail:read", 404)["responses"].keys() == {400, 401, 403, 404, 429, 503}
    assert needs("mail:read")["opt"] == {"scope": "mail:read"}
    assert signed_in()["opt"] == {"scope": ""}
    assert public(422)["responses"].keys() == {400, 422, 429, 503}
    assert (public()["opt"], public()["security"]) == ({"public": True}, [{}])
    assert or_nothing(needs("mail:read"), "None.")["responses"].keys() >= {204, 401}


def test_bound_routes_keep_apart() -> None:
    class Routes(Controller):
        word: str

        @get("/", **public())
        async def one(self) -> str:
            return self.word

    first, second = bind(Routes, word="a"), bind(Routes, word="b")
    assert (first.word, second.word) == ("a", "b")  # type: ignore[attr-defined]
    assert not hasattr(Routes, "word")
    assert first.__name__ == "Routes"


def handlers(house: House) -> list[Any]:
    """All but Litestar's own for OPTIONS, which the edge answers before."""
    found = [each for route in house.app._app.routes for each in getattr(route, "route_handlers", ())]
    return [each for each in found if each.http_methods != {"OPTIONS"}]


async def test_every_route_is_public_or_names_its_door_or_a_scope_of_the_contract(shared_house: House) -> None:
    """A route that says nothing would be a 500: the doorkeeper would not know what it needs."""
    found = handlers(shared_house)
    assert len(found) > 40
    for handler in found:
        said = [bool(handler.opt.get("public")), "door" in handler.opt, handler.opt.get("scope") in ("", *SCOPES)]
        assert sum(said) == 1, (handler, handler.opt)


async def test_the_framework_serves_nothing_of_its_own(shared_house: House) -> None:
    assert {handler.fn.__module__.partition(".")[0] for handler in handlers(shared_house)} == {"leasebox"}


async def test_every_operation_has_an_id_of_its_own_and_a_summary(shared_house: House) -> None:
    ids = [handler.operation_id for handler in handlers(shared_house) if handler.include_in_schema is not False]
    named = [each for each in ids if each]
    assert len(named) == len(set(named)) > 40
