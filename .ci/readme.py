"""Writes those parts of README.md that the sources know better: the map, the settings, the default meters, the events.

    .venv/bin/python .ci/readme.py      rewrites README.md in place (make format does it)

Each part stands between `<!-- NAME -->` and `<!-- /NAME -->`; tests/house compares them.
"""

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from leasebox.billing.prices import DEFAULT_PRICES
from leasebox.config import DOCUMENTED, Setting
from leasebox.values.facts import FACTS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "leasebox"


def rewritten(text: str) -> str:
    """README's text with each marked part made anew. Raises KeyError for a mark that nobody can fill."""
    return re.sub(
        r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)",
        lambda part: part[1] + PARTS[part[2]]() + part[3],
        text,
        flags=re.DOTALL,
    )


def house_map() -> str:
    """Every module and package of the house from the top down, with the first sentence of its docstring."""
    lines = [f"{name:<16}{sentence}" for name, sentence in _floors()]
    return "```\n" + "\n".join(lines) + "\n```\n"


def settings_table() -> str:
    """config.DOCUMENTED as a table; secrets are marked, for they may also come from a file."""
    return "| Setting | Default | Meaning |\n|---|---|---|\n" + "".join(map(_row, DOCUMENTED))


def meters_table() -> str:
    """What each meter gives for nothing and costs beyond it."""
    rows = [f"| `{p.meter}` | {p.free:,} per {p.window} | {p.price} USDC |\n" for p in DEFAULT_PRICES.prices.values()]
    return "| Meter | Free per tenant | Each one beyond |\n|---|---|---|\n" + "".join(rows)


def events_table() -> str:
    """Every public fact that webhooks and streams tell."""
    rows = [f"| `{name}` | {each.meaning} |\n" for name, each in FACTS.items()]
    return "| Type | When |\n|---|---|\n" + "".join(rows)


PARTS: dict[str, Callable[[], str]] = {
    "map": house_map,
    "settings": settings_table,
    "meters": meters_table,
    "events": events_table,
}


def _floors() -> Iterator[tuple[str, str]]:
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    for name in (word.strip(" ()") for layer in layers for word in layer.split("|")):
        for path, shown in ((PACKAGE / f"{name}.py", f"{name}.py"), (PACKAGE / name / "__init__.py", f"{name}/")):
            if path.is_file() and (docstring := ast.get_docstring(ast.parse(path.read_text()))):
                yield shown, docstring.partition("\n\n")[0].replace("\n", " ").rstrip(".")


def _row(setting: Setting) -> str:
    written = re.fullmatch(r"[~\d].*|http:.*|[\w.]+", setting.default)
    default = f"`{setting.default}`" if written else setting.default or "none"
    return f"| `{setting.name}`{' *' if setting.secret else ''} | {default} | {setting.meaning} |\n"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(rewritten(readme.read_text()))
