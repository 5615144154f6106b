"""The pages over HTTP."""

from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar, get
from litestar.testing import TestClient

from leasebox.infra.web.routes import bind
from leasebox.pages.frame import POLICY
from leasebox.pages.http import GuideRoutes
from tests.pages.facts import FACTS

HTML, MARKDOWN, PLAIN = "text/html; charset=utf-8", "text/markdown; charset=utf-8", "text/plain; charset=utf-8"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@get("/v2/thing", operation_id="thing", sync_to_thread=False)
def thing() -> dict[str, str]:
    """A thing."""
    return {}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Any]]:
    with TestClient(Litestar([bind(GuideRoutes, facts=FACTS), thing])) as made:
        yield made


@pytest.mark.parametrize(
    ("path", "accept", "media_type", "holds"),
    [
        ("/", BROWSER, HTML, "Real mailboxes"),
        ("/agents-guide", BROWSER, HTML, '<h2 id="1-sign-in-with-a-wallet">'),
        ("/agents-guide", "*/*", HTML, "<article"),
        ("/agents-guide", "text/markdown", MARKDOWN, "\n## 1. Sign in with a wallet\n"),
        ("/agents-guide", "text/markdown, text/html;q=0.5, */*;q=0.1", MARKDOWN, "```sh"),
        ("/agents-guide", "text/html, text/markdown;q=0.5", HTML, "<article"),
        ("/agents-guide", "text/plain", PLAIN, "```sh"),
        ("/agents-guide", "application/json", HTML, "<article"),
        ("/agents-guide.md", BROWSER, MARKDOWN, "# Guide for agents"),
        ("/llms.txt", "*/*", PLAIN, "# leasebox"),
        ("/docs", BROWSER, HTML, "/v2/thing"),
    ],
)
def test_pages(client: TestClient[Any], path: str, accept: str, media_type: str, holds: str) -> None:
    answer = client.get(path, headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    assert holds in answer.text
    assert answer.headers["content-security-policy"] == POLICY


def test_the_guide_varies_and_names_its_markdown(client: TestClient[Any]) -> None:
    answer = client.get("/agents-guide")
    assert answer.headers["vary"] == "accept"
    assert "</agents-guide.md>" in answer.headers["link"]


@pytest.mark.parametrize("path", ["/", "/agents-guide", "/agents-guide.md", "/llms.txt", "/docs"])
def test_what_is_known_is_not_sent_again(client: TestClient[Any], path: str) -> None:
    tag = client.get(path).headers["etag"]
    again = client.get(path, headers={"if-none-match": f'"other", W/{tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get(path, headers={"if-none-match": '"other"'}).status_code == 200


def test_pages_are_no_part_of_the_api(client: TestClient[Any]) -> None:
    assert list(client.app.openapi_schema.to_schema()["paths"]) == ["/v2/thing"]
