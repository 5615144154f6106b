"""The catalogue of facts: complete, with examples that could be real."""

import re

import msgspec
import pytest

from leasebox.billing.invoice_model import InvoiceId
from leasebox.values import facts, ids
from leasebox.values.facts import FACTS, PUBLIC, USAGE_DENIED, Event, example_of
from leasebox.values.ids import Id

NAMES = {text for name, text in vars(facts).items() if re.fullmatch("[A-Z][A-Z_]+", name) and isinstance(text, str)}
KINDS = {
    kind.prefix: kind for kind in [*vars(ids).values(), InvoiceId] if isinstance(kind, type) and issubclass(kind, Id)
}


def test_every_name_is_public_but_one() -> None:
    assert set(PUBLIC) == set(FACTS) == NAMES - {USAGE_DENIED}
    assert len(NAMES) > 10


@pytest.mark.parametrize("type_", PUBLIC)
def test_each_is_told_in_a_line_with_an_example(type_: str) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z]+", type_)
    assert re.fullmatch(r"[A-Z][^\n]{10,90}\.", FACTS[type_].meaning)
    example = example_of(type_)
    assert msgspec.json.decode(msgspec.json.encode(example), type=Event) == example
    assert example.data
    assert (example.mailbox_id, example.lease_id) == tuple(
        example.data.get(name) for name in ("mailbox_id", "lease_id")
    )
    for name, text in [*example.data.items(), *msgspec.structs.asdict(example).items()]:
        if name.endswith("_id") and text is not None:
            KINDS[text.partition("_")[0]].parse(text)
