"""`/openapi.json` says what the routes really take."""

from typing import Any

import pytest

from leasebox.values.facts import FACTS
from tests.kit import House
from tests.kit_mail import shared_house
from tests.tours.sample import operations

__all__ = ["shared_house"]


@pytest.fixture(scope="module")
async def described(shared_house: House) -> dict[str, Any]:
    async with shared_house.client() as http:
        told: dict[str, Any] = (await http.get("/openapi.json")).json()
    return told


async def test_bodies_take_no_unknown_fields(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    bodies = {each.body["$ref"].rpartition("/")[2] for each in operations(described) if each.body}
    assert len(bodies) > 8
    assert {name for name in bodies if schemas[name].get("additionalProperties") is not False} == set()


async def test_bounds_and_words_are_told(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    hours = schemas["LeaseRequest"]["properties"]["ttl_hours"]
    assert (hours["minimum"], hours["maximum"]) == (1, 720)
    labels = schemas["LabelPatch"]["properties"]["add_labels"]
    assert (labels["maxItems"], labels["items"]["maxLength"]) == (20, 50)
    assert schemas["AgentPatch"]["description"].startswith("status `disabled` stops")


async def test_no_list_among_the_parameters_may_be_null(described: dict[str, Any]) -> None:
    lists = [
        (parameter["name"], parameter["schema"])
        for operations in described["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", ())
        if "array" in str(parameter["schema"])
    ]
    assert {name for name, _ in lists} >= {"label"}
    for name, schema in lists:
        assert (schema["type"], schema["items"]) == ("array", {"type": "string"}), name
    assert dict(lists)["label"]["maxItems"] == 10


async def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*(references(each) for each in value.values()))
        return set().union(*(references(each) for each in value)) if isinstance(value, list) else set()

    found = references(described)
    assert len(found) > 20
    assert {each for each in found if each.rpartition("/")[2] not in described["components"]["schemas"]} == set()


async def test_every_operation_says_how_it_refuses_and_what_it_is(described: dict[str, Any]) -> None:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], (method, path)
            refusals = {status for status in operation["responses"] if status[0] in "45"}
            assert refusals >= {"400", "429", "503"}, (method, path)
            if operation["security"] != [{}]:
                assert "401" in refusals, (method, path)
            if operation["security"] == [{"bearer": []}]:
                assert "403" in refusals, (method, path)


async def test_it_is_openapi_3_1_with_the_instances_own_words(described: dict[str, Any]) -> None:
    assert described["openapi"].startswith("3.1")
    assert described["info"]["title"] == "leasebox"
    assert described["info"]["contact"]["url"] == "http://leasebox.test"
    assert described["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


async def test_every_event_is_shown_with_an_example(described: dict[str, Any]) -> None:
    assert set(described["webhooks"]) == set(FACTS)
    properties = set(described["components"]["schemas"]["Event"]["properties"])
    for type_, item in described["webhooks"].items():
        told = item["post"]["requestBody"]["content"]["application/json"]
        assert told["schema"] == {"$ref": "#/components/schemas/Event"}
        assert set(told["example"]) == properties
        assert told["example"]["type"] == type_
        assert told["example"]["data"] == FACTS[type_].example
