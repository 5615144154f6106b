"""Routes of the pages that agents and people read. None of them needs a credential, and none has a script."""

import hashlib
from functools import lru_cache
from typing import Any

from litestar import Controller, Request, Response, get

from leasebox.pages.frame import POLICY
from leasebox.pages.guide import front_page, guide_markdown, guide_page, llms_text
from leasebox.pages.guide_facts import GuideFacts
from leasebox.pages.reference import reference_page

# Litestar adds the charset to every text type.
HTML, MARKDOWN, PLAIN = "text/html", "text/markdown", "text/plain"
_HIDDEN: dict[str, Any] = {"include_in_schema": False, "opt": {"public": True}}


class GuideRoutes(Controller):
    """The front page, the guide for agents, llms.txt and the API reference."""

    path = "/"

    facts: GuideFacts

    @get("/", **_HIDDEN)
    async def front(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """What this instance is."""
        return _page(request, front_page(self.facts), HTML)

    @get("/agents-guide", **_HIDDEN)
    async def guide(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """The guide: HTML, or Markdown for whom asks for that."""
        wanted = request.accept.best_match(["text/html", "text/markdown", "text/plain"], default="text/html")
        if wanted == "text/html":
            answer = _page(request, guide_page(self.facts), HTML)
            answer.headers["link"] = '</agents-guide.md>; rel="alternate"; type="text/markdown"'
        else:
            answer = _page(request, guide_markdown(self.facts), MARKDOWN if wanted == "text/markdown" else PLAIN)
        answer.headers["vary"] = "accept"
        return answer

    @get("/agents-guide.md", **_HIDDEN)
    async def guide_as_markdown(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """The guide as Markdown."""
        return _page(request, guide_markdown(self.facts), MARKDOWN)

    @get("/llms.txt", **_HIDDEN)
    async def llms(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Where a language model reads on."""
        return _page(request, llms_text(self.facts), PLAIN)

    @get("/docs", **_HIDDEN)
    async def reference(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """The API reference."""
        return _page(request, _reference(request.app, self.facts), HTML)


@lru_cache(maxsize=4)
def _reference(app: Any, facts: GuideFacts) -> str:
    """Drawn once per process: the routes do not change while it runs."""
    return reference_page(app.openapi_schema.to_schema(), facts.base_url)


def _page(request: Request[Any, Any, Any], text: str, media_type: str) -> Response[bytes]:
    """A text with the headers that let it be cached and keep it from doing anything (RFC 9110 §13.1.2)."""
    body = text.encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "public, max-age=60", "content-security-policy": POLICY}
    if tag in (each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")):
        return Response(b"", status_code=304, media_type=media_type, headers=headers)
    return Response(body, media_type=media_type, headers=headers)
