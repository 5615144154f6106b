"""The guide for agents, the front page and llms.txt of one instance."""

from html import escape

from leasebox.pages import markdown
from leasebox.pages.frame import contents, frame
from leasebox.pages.guide_facts import GuideFacts
from leasebox.pages.template import chapters, fill, load


def guide_markdown(facts: GuideFacts) -> str:
    """The whole guide as Markdown, chapter after chapter."""
    words = facts.words()
    return "\n".join(fill(chapter, words).rstrip() + "\n" for chapter in chapters("guide"))


def guide_page(facts: GuideFacts) -> str:
    """The same as an HTML page that needs no script."""
    text = guide_markdown(facts)
    entries = [(f"#{each.anchor}", escape(each.text)) for each in markdown.headings(text) if each.level == 2]
    main = f'<article class="prose">{markdown.render(text)}</article>'
    return frame("leasebox: guide for agents", contents(entries), main, "/agents-guide")


def front_page(facts: GuideFacts) -> str:
    """What stands at `/`."""
    return frame("leasebox", "", fill(load("front.html"), facts.words(), _marked), "/")


def llms_text(facts: GuideFacts) -> str:
    """`/llms.txt`: what an instance is and where to read on (llmstxt.org)."""
    return fill(load("llms.txt"), facts.words())


def _marked(word: str) -> str:
    return markdown.inline(word)
