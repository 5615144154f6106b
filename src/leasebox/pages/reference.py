"""The API reference: our OpenAPI description as one page, drawn on the server, without scripts or foreign hosts."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import msgspec

from leasebox.pages import markdown
from leasebox.pages.frame import contents, frame
from leasebox.pages.schema_view import Field, Schema, example, fields, json, kind_of, notes_on, references, resolved

_METHODS = ("get", "post", "put", "patch", "delete")
_INTRO = """
# API reference

{description}

Requests and answers are JSON. Send `authorization: Bearer <access_token>` where a route asks for a token. Refusals are
`application/problem+json` with `error`, `message`, `fix` and `request_id`;
[the guide](/agents-guide#errors-and-what-to-do) lists them. For programs: [/openapi.json](/openapi.json).
To begin: [the guide for agents](/agents-guide).
"""


class Operation(msgspec.Struct, frozen=True):
    """A method of a path, and what the description says of it."""

    method: str
    path: str
    spec: Mapping[str, Any]

    @property
    def anchor(self) -> str:
        return markdown.anchor_of(str(self.spec.get("operationId") or f"{self.method} {self.path}"))

    @property
    def name(self) -> str:
        """Its id in plain words."""
        return str(self.spec.get("operationId") or self.path).replace("_", " ")

    @property
    def tag(self) -> str:
        return str((self.spec.get("tags") or ["Other"])[0])

    @property
    def says(self) -> str:
        """The description, or else the summary."""
        return str(self.spec.get("description") or self.spec.get("summary") or "")

    @property
    def is_open(self) -> bool:
        """Whether it needs no token."""
        return any(not each for each in self.spec.get("security", ())) or not self.spec.get("security")


def reference_page(description: Mapping[str, Any], base_url: str) -> str:
    """The page of an OpenAPI 3.1 description."""
    known: Mapping[str, Schema] = description.get("components", {}).get("schemas", {})
    by_tag: dict[str, list[Operation]] = {}
    for operation in operations(description):
        by_tag.setdefault(operation.tag, []).append(operation)
    intro = _INTRO.format(description=description.get("info", {}).get("description", ""))
    parts = [f'<div class="prose">{markdown.render(intro)}</div>']
    said = {each["name"]: each.get("description", "") for each in description.get("tags", ())}
    for tag, found in by_tag.items():
        parts.append(f'<h2 id="{_tag_anchor(tag)}">{escape(tag)}</h2>{markdown.render(said.get(tag, ""))}')
        parts.extend(_operation(each, known, base_url) for each in found)
    parts.append(_events(description.get("webhooks", {})))
    parts.append('<h2 id="schemas">Schemas</h2>')
    parts.extend(_schema(name, known) for name in sorted(_reachable(description, known), key=str.lower))
    return frame("leasebox: API reference", _sidebar(by_tag), "\n".join(parts), "/docs")


def operations(description: Mapping[str, Any]) -> Iterator[Operation]:
    """All operations, in the order of the description."""
    for path, item in description.get("paths", {}).items():
        for method in _METHODS:
            if method in item:
                yield Operation(method, path, item[method])


def _sidebar(by_tag: Mapping[str, list[Operation]]) -> str:
    parts = []
    for tag, found in by_tag.items():
        entries = [(f"#{each.anchor}", f"{_method(each.method)}{escape(each.name)}") for each in found]
        parts.append(f"<strong>{escape(tag)}</strong>{contents(entries)}")
    return "".join(parts) + contents([("#event-types", "Types of events"), ("#schemas", "Schemas")])


def _operation(operation: Operation, known: Mapping[str, Schema], base_url: str) -> str:
    first, _, rest = operation.says.partition("\n\n")
    body = "".join(
        [
            markdown.render(rest) if rest else "",
            _parameters(operation, known),
            _body(operation, known),
            _answers(operation, known),
            "<h4>Example</h4>" + markdown.render("```sh\n" + _curl(operation, known, base_url) + "\n```"),
        ]
    )
    access = "" if operation.is_open else '<span class="type">needs a token</span>'
    return (
        f'<details class="operation" id="{operation.anchor}" open><summary>{_method(operation.method)}'
        f'<code>{escape(operation.path)}</code>{access}<span class="says">{markdown.inline(" ".join(first.split()))}'
        f'</span></summary><div class="body">{body}</div></details>'
    )


def _events(webhooks: Mapping[str, Any]) -> str:
    """What each event means, with an example of its body."""
    parts = ['<h2 id="event-types">Types of events</h2>']
    for name, item in webhooks.items():
        told = item["post"]["requestBody"]["content"]["application/json"]["example"]
        shown = markdown.render(f"{item['post']['description']}\n\n```json\n{json(told)}\n```")
        parts.append(f"<h3>{escape(name)}</h3>{shown}")
    return "".join(parts)


def _parameters(operation: Operation, known: Mapping[str, Schema]) -> str:
    rows = [
        Field(each["name"], kind_of(each.get("schema", {}), known), bool(each.get("required")), _noted(each))
        for each in operation.spec.get("parameters", ())
    ]
    return _table("Parameters", rows)


def _body(operation: Operation, known: Mapping[str, Schema]) -> str:
    schema = _json_schema(operation.spec.get("requestBody", {}))
    return "" if schema is None else _table("Body", fields(schema, known)) + _said(resolved(schema, known))


def _answers(operation: Operation, known: Mapping[str, Schema]) -> str:
    rows, refusals = [], []
    for status, answer in sorted(operation.spec.get("responses", {}).items()):
        if status.startswith(("4", "5")):
            refusals.append(f'<span class="status">{escape(status)}</span>')
            continue
        schema = _json_schema(answer)
        kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in answer.get("content", {}))
        said = kind_of(schema, known) if schema is not None else kinds or escape(answer.get("description", ""))
        line = f'<span class="status">{escape(status)}</span> {said}'
        table = _table("", fields(schema, known)) if schema is not None else ""
        rows.append(_unfolding(line, table) if table else f'<p class="answer">{line}</p>')
    told = f'<p class="answer fine">Refusals: {" ".join(refusals)}</p>' if refusals else ""
    return f"<h4>Answers</h4>{''.join(rows)}{told}"


def _curl(operation: Operation, known: Mapping[str, Schema], base_url: str) -> str:
    needed = [
        each for each in operation.spec.get("parameters", ()) if each.get("in") == "query" and each.get("required")
    ]
    query = "&".join(f"{each['name']}=…" for each in needed)
    method = "" if operation.method == "get" else f"-X {operation.method.upper()} "
    lines = [f"curl {method}'{base_url}{operation.path}{'?' + query if query else ''}'"]
    if not operation.is_open:
        lines.append('-H "authorization: Bearer $TOKEN"')
    schema = _json_schema(operation.spec.get("requestBody", {}))
    if schema is not None:
        lines += ["-H 'content-type: application/json'", f"-d '{json(example(schema, known))}'"]
    return " \\\n  ".join(lines)


def _schema(name: str, known: Mapping[str, Schema]) -> str:
    schema = known[name]
    title = str(schema.get("title", name))
    return f'<h3 id="schema-{escape(name)}">{escape(title)}</h3>{_said(schema)}{_table("", fields(schema, known))}'


def _table(heading: str, rows: list[Field]) -> str:
    if not rows:
        return ""
    drawn = "".join(
        f"<tr><td><code>{escape(row.name)}</code>{' <span class=must>required</span>' if row.required else ''}</td>"
        f'<td class="type">{row.kind}</td><td>{row.notes}</td></tr>'
        for row in rows
    )
    head = f"<h4>{heading}</h4>" if heading else ""
    return f'{head}<div class="wide"><table class="fields"><tbody>{drawn}</tbody></table></div>'


def _reachable(description: Mapping[str, Any], known: Mapping[str, Schema]) -> set[str]:
    """The schemas that operations use, directly or through one another."""
    found: set[str] = set()
    left = set(references(description.get("paths", {})))
    while left:
        name = left.pop()
        if name in known and name not in found:
            found.add(name)
            left |= set(references(known[name]))
    return found


def _unfolding(summary: str, inside: str) -> str:
    return f'<details class="answer"><summary>{summary}</summary>{inside}</details>'


def _json_schema(holder: Mapping[str, Any]) -> Schema | None:
    schema: Schema | None = holder.get("content", {}).get("application/json", {}).get("schema")
    return schema


def _noted(parameter: Mapping[str, Any]) -> str:
    schema = parameter.get("schema", {})
    return notes_on({**schema, "description": parameter.get("description") or schema.get("description", "")})


def _said(schema: Schema) -> str:
    return markdown.render(str(schema.get("description", ""))) if schema.get("description") else ""


def _method(method: str) -> str:
    return f'<span class="method {method}">{method.upper()}</span>'


def _tag_anchor(tag: str) -> str:
    return "tag-" + markdown.anchor_of(tag)
