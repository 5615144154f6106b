"""What the house says of itself is true: README, CHANGELOG, Makefile, version, locks."""

import functools
import re
import runpy
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import packages_distributions

import pytest

import leasebox
from leasebox.cli import COMMANDS
from leasebox.config import DOCUMENTED, ROLE_NAMES
from tests.house.source import ROOT, Module, modules, none, snippet

TARGET = re.compile(r"^([a-z][a-z0-9-]*):", re.MULTILINE)
PIN = re.compile(r"^([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==(\S+)", re.MULTILINE)
# A lock names releases and hashes; where they come from is the machine's own setting.
HOST = re.compile(r"://|^\s*-{1,2}(i|f|index-url|extra-index-url|find-links|trusted-host)\b|\s@\s", re.MULTILINE)


def unknown_commands(readme: str, makefile: str) -> set[str]:
    """`make` targets that README names and the Makefile lacks."""
    named = {word for line in re.findall(r"^make .*$|`make [^`]+`", readme, re.MULTILINE) for word in _targets(line)}
    return named - set(TARGET.findall(makefile))


def unknown_verbs(readme: str, verbs: Iterable[str], roles: Iterable[str]) -> set[str]:
    """What README lets the `leasebox` command do and it cannot; `leasebox ready` is a line that it prints."""
    fenced = "\n".join(re.findall(r"^```\w*\n(.*?)^```", readme, re.MULTILINE | re.DOTALL))
    named = re.findall(r"^(?:\S*/)?leasebox ([a-z-]+)(?: ([a-z]+))?", fenced, re.MULTILINE)
    named += re.findall(r"`(?:[^`\s]*/)?leasebox ([a-z-]+)(?: ([a-z]+))?[^`\n]*`", readme)
    strange = {verb for verb, _ in named} - {"ready", *verbs}
    return strange | ({role for verb, role in named if verb == "serve" and role} - set(roles))


def unpinned(lock: str, requirements: Iterable[str]) -> set[str]:
    """Names that are required and not in the lock."""
    return {_name_of(each) for each in requirements} - {name for name, _ in PIN.findall(lock)}


def borrowed(module: Module, required: Iterable[str]) -> Iterable[str]:
    """What is imported only because somebody else happens to require it."""
    owners = _owners()
    wanted = {_name_of(each) for each in required}
    for line, _, origin in module.imports():
        root = origin.split(".")[0]
        if root in sys.stdlib_module_names or root == "leasebox":
            continue
        if not wanted & {_name_of(each) for each in owners.get(root, [])}:
            yield module.fault(line, f"{root} is not among the dependencies of pyproject.toml")


@functools.cache
def _owners() -> Mapping[str, Sequence[str]]:
    """Who brings each importable name; asked once, for it reads every installed package's files."""
    return packages_distributions()


def unhashed(lock: str) -> list[str]:
    """Pins that are not followed by at least one SHA-256."""
    entries = re.split(r"\n(?=\S)", lock.strip())
    return [entry.split()[0] for entry in entries if PIN.match(entry) and "--hash=sha256:" not in entry]


def _name_of(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower().replace("_", "-")


def _targets(line: str) -> list[str]:
    words = re.sub(r"\w+='[^']*'|\w+=\S+|#.*", "", line.strip("`")).split()[1:]
    return [word.strip("`,.;") for word in words]


def _read(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def _project() -> dict[str, object]:
    project: dict[str, object] = tomllib.loads(_read("pyproject.toml"))["project"]
    return project


def test_readme_shows_the_settings_meters_and_floors_that_the_sources_have() -> None:
    made = runpy.run_path(str(ROOT / ".ci/readme.py"))
    assert made["rewritten"](_read("README.md")) == _read("README.md"), "run: make format"


def test_every_part_of_readme_that_is_made_is_filled() -> None:
    made = runpy.run_path(str(ROOT / ".ci/readme.py"))
    text = made["rewritten"](_read("README.md"))
    assert set(re.findall(r"<!-- (\w+) -->", text)) >= set(made["PARTS"])
    for name in made["PARTS"]:
        assert len(text.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0].splitlines()) > 3


def test_an_outdated_table_is_seen() -> None:
    made = runpy.run_path(str(ROOT / ".ci/readme.py"))
    stale = "a\n<!-- meters -->\nold\n<!-- /meters -->\nb\n"
    assert made["rewritten"](stale) == "a\n<!-- meters -->\n" + made["meters_table"]() + "<!-- /meters -->\nb\n"


def test_readme_lists_every_setting() -> None:
    assert [each.name for each in DOCUMENTED if f"| `{each.name}`" not in _read("README.md")] == []


def test_readme_names_only_commands_that_exist() -> None:
    assert unknown_commands(_read("README.md"), _read("Makefile")) == set()


@pytest.mark.parametrize("readme", ["`make lunch`", "make lunch", "```\nmake lunch X=1\n```", "`make X='a b' lunch`"])
def test_a_command_that_does_not_exist_is_caught(readme: str) -> None:
    assert unknown_commands(readme, "run: setup\n\techo\n") == {"lunch"}
    assert unknown_commands(readme, "lunch:\n\techo\n") == set()


def test_readme_names_only_verbs_that_exist() -> None:
    assert unknown_verbs(_read("README.md"), COMMANDS, ROLE_NAMES) == set()


@pytest.mark.parametrize(
    "readme",
    [
        "```\nleasebox dance\n```",
        "```sh\n.venv/bin/leasebox dance --fast\n```",
        "so `leasebox dance`",
        "`leasebox serve dance`",
    ],
)
def test_a_verb_that_does_not_exist_is_caught(readme: str) -> None:
    assert unknown_verbs(readme, ["up", "serve"], ["http"]) == {"dance"}
    assert unknown_verbs(readme, ["serve", "dance"], ["dance"]) == set()
    assert unknown_verbs("leasebox leases mailboxes; `leasebox ready`\n", [], []) == set()


def test_the_makefile_has_what_the_contract_names() -> None:
    assert {"setup", "run", "test", "check", "bench", "e2e"} <= set(TARGET.findall(_read("Makefile")))


def test_every_target_has_its_line_in_help() -> None:
    makefile = _read("Makefile")
    assert set(TARGET.findall(makefile)) == set(re.findall(r"^([a-z0-9-]+):.*## \S", makefile, re.MULTILINE))


def test_the_version_is_the_same_everywhere() -> None:
    assert _project()["version"] == leasebox.__version__
    assert re.search(rf"^## {re.escape(leasebox.__version__)}\b", _read("CHANGELOG.md"), re.MULTILINE)


@pytest.mark.parametrize("path", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_no_host_and_hashes_everything(path: str) -> None:
    lock = _read(path)
    assert HOST.findall(lock) == []
    assert unhashed(lock) == []
    assert len(PIN.findall(lock)) > 50


@pytest.mark.parametrize(
    "line",
    ["--index-url x", "-i x", "  --extra-index-url x", "-f x", "a @ file", "a==1 --hash=sha256:0 # https://x"],
)
def test_a_host_in_a_lock_is_caught(line: str) -> None:
    assert HOST.search("a==1 \\\n    --hash=sha256:00\n" + line)


def test_a_pin_without_hash_is_caught() -> None:
    assert unhashed("a==1\nb==2 \\\n    --hash=sha256:00\nc[d]==3 ; python_version < '3.12'\n") == ["a==1", "c[d]==3"]


def test_the_locks_hold_all_that_the_project_requires() -> None:
    tables = tomllib.loads(_read("pyproject.toml"))["project"]
    extras = tables["optional-dependencies"]
    assert unpinned(_read("requirements.lock"), [*tables["dependencies"], *extras["build"]]) == set()
    assert (
        unpinned(_read("requirements-dev.lock"), [*tables["dependencies"], *extras["build"], *extras["dev"]]) == set()
    )
    assert unpinned("a-b==1\n", ["A_b[c]>=1,<2", "d"]) == {"d"}


def test_all_that_is_imported_is_required() -> None:
    required = tomllib.loads(_read("pyproject.toml"))["project"]["dependencies"]
    none(fault for module in modules() for fault in borrowed(module, required))


def test_a_borrowed_import_is_caught() -> None:
    module = snippet("import click\nfrom msgspec import json\nimport os\nimport nowhere.known\nimport leasebox.config")
    assert len(list(borrowed(module, ["click>=8", "msgspec"]))) == 1
    assert len(list(borrowed(module, ["click>=8"]))) == 2


def test_the_locks_agree() -> None:
    """Tests run on the very releases that are shipped."""
    assert (
        dict(PIN.findall(_read("requirements.lock"))).items()
        <= dict(PIN.findall(_read("requirements-dev.lock"))).items()
    )
