"""Whatever route the guide, README or llms.txt names is there, as `/openapi.json` has it."""

import re
from pathlib import Path

from leasebox.pages.guide import guide_markdown, llms_text
from tests.kit import House
from tests.pages.facts import FACTS

README = Path(__file__).parents[2] / "README.md"
NAMED = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) (/v2/(?:\{[^}]*\}|[a-z0-9/_-])+)")
CALLED = re.compile(r'(?:-X (\w+) )?"\$API_BASE(/v2/[^"? ]+)')


def plain(path: str) -> str:
    """A path with `{}` for whatever it is filled with."""
    return re.sub(r"\{[^}]*\}|\$\w+", "{}", path).rstrip("/")


async def test_every_route_that_is_named_exists(house: House) -> None:
    async with house.client() as anybody:
        paths = (await anybody.get("/openapi.json")).json()["paths"]
    known = {(method.upper(), plain(path)) for path, methods in paths.items() for method in methods}
    named = set()
    for text in (guide_markdown(FACTS), llms_text(FACTS), README.read_text()):
        named |= {(method, plain(path)) for method, path in NAMED.findall(text)}
        for method, path in CALLED.findall(text):
            assert {plain(path)} & {each for _, each in known}, (method, path)
    assert len(named) >= 25
    assert named - known == set()
