"""The part of Markdown that our pages are written in, as HTML. Everything is escaped; there is no raw HTML.

Headings, paragraphs, fenced code, tables, lists of one level, quotes; code, strong and links within a line.
"""

import re
from collections.abc import Callable, Iterator
from html import escape

import msgspec

_INLINE = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<strong>[^*]+)\*\*|\[(?P<text>[^\]]+)\]\((?P<url>[^()\s]+)\)")
_HEADING = re.compile(r"(#{1,4}) (.+)")
_ITEM = re.compile(r"(?:[-*]|(\d+)\.) (.*)")
_RULE = re.compile(r"\|?\s*:?-{3,}")
_SAFE_URL = re.compile(r"(?:https?://|mailto:|[/#])")


class Heading(msgspec.Struct, frozen=True):
    """A heading: its level from 1, its plain text and the id it can be linked by."""

    level: int
    text: str
    anchor: str


def render(text: str) -> str:
    """Markdown as HTML."""
    return "\n".join(_blocks(text.split("\n")))


def headings(text: str) -> list[Heading]:
    """All headings in order, for a table of contents."""
    found, fenced = [], False
    for line in text.split("\n"):
        fenced ^= line.startswith("```")
        if not fenced and (match := _HEADING.fullmatch(line)):
            found.append(_heading(match))
    return found


def inline(text: str) -> str:
    """One line's marks as HTML."""
    parts, at = [], 0
    for match in _INLINE.finditer(text):
        parts += [escape(text[at : match.start()]), _marked(match)]
        at = match.end()
    return "".join([*parts, escape(text[at:])])


def anchor_of(text: str) -> str:
    """`Sign in, then lease` → `sign-in-then-lease`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _blocks(lines: list[str]) -> Iterator[str]:
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
        elif line.startswith("```"):
            end = _end(lines, at + 1, lambda each: each.startswith("```"))
            yield _code(line[3:].strip(), lines[at + 1 : end])
            at = end + 1
        elif match := _HEADING.fullmatch(line):
            heading = _heading(match)
            yield f'<h{heading.level} id="{heading.anchor}">{inline(match[2])}</h{heading.level}>'
            at += 1
        else:
            end = _end(lines, at, lambda each: not each.strip() or each.startswith("```"))
            yield _paragraph(lines[at:end])
            at = end


def _paragraph(lines: list[str]) -> str:
    if lines[0].startswith("|") and len(lines) > 1 and _RULE.match(lines[1]):
        return _table(lines)
    if all(line.startswith(">") for line in lines):
        quoted = "\n".join(line[1:].strip() for line in lines)
        return f"<blockquote>{render(quoted)}</blockquote>"
    if _ITEM.match(lines[0]):
        return _list(lines)
    return f"<p>{inline(' '.join(lines))}</p>"


def _list(lines: list[str]) -> str:
    items: list[str] = []
    for line in lines:
        if match := _ITEM.match(line):
            items.append(match[2])
        else:
            items[-1] += " " + line.strip()
    first = _ITEM.match(lines[0])
    tag = "ol" if first and first[1] else "ul"
    return f"<{tag}>{''.join(f'<li>{inline(item)}</li>' for item in items)}</{tag}>"


def _table(lines: list[str]) -> str:
    head, *rows = [_cells(line) for line in (lines[0], *lines[2:])]
    heading = "".join(f"<th>{inline(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{inline(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def _code(language: str, lines: list[str]) -> str:
    label = f' data-language="{escape(language)}"' if language else ""
    content = escape("\n".join(lines))
    return f'<pre{label} tabindex="0"><code>{content}</code></pre>'


def _marked(match: re.Match[str]) -> str:
    if match["code"] is not None:
        return f"<code>{escape(match['code'])}</code>"
    if match["strong"] is not None:
        return f"<strong>{inline(match['strong'])}</strong>"
    if not _SAFE_URL.match(match["url"]):
        return escape(match[0])
    return f'<a href="{escape(match["url"])}">{inline(match["text"])}</a>'


def _heading(match: re.Match[str]) -> Heading:
    plain = re.sub(r"[`*]", "", match[2])
    return Heading(len(match[1]), plain, anchor_of(plain))


def _end(lines: list[str], start: int, stops: Callable[[str], bool]) -> int:
    return next((at for at in range(start, len(lines)) if stops(lines[at])), len(lines))
