"""docs/architecture.md shows the rooms as the imports have them, and pages name only what exists.

`python -m tests.engine.test_architecture` prints the picture.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from eventmill.config.campaign_spec import CampaignSpec

ROOT = Path(__file__).parents[2]
FOLDERS = {"": ROOT / "src" / "eventmill", "flows": ROOT / "flows", "tasks": ROOT / "tasks"}
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])

NOT_OURS = frozenset(
    {*CampaignSpec.model_fields, *("hist", "pathlib", "pyarrow", "distributed", "subprocess", "runner", "task")}
)
"""Keys of the campaign file (`cluster.workers`), and what belongs to Python, Dask and others."""

FILE_ENDINGS = frozenset({"json", "lock", "md", "parquet", "png", "py", "toml", "yaml"})

Graph = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """Each module of the package by its dotted name, without `eventmill.`."""
    found = {}
    for prefix, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = (*filter(None, [prefix]), *path.relative_to(folder).with_suffix("").parts)
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports() -> Graph:
    """room -> the rooms that it imports, also inside functions. A room is a folder, or a module beside them."""
    graph: Graph = {}
    for name, path in modules().items():
        room = name.partition(".")[0]
        if room == "__init__":
            continue
        found = graph.setdefault(room, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            found |= {
                parts[1] for parts in (name.split(".") for name in names) if parts[0] == "eventmill" and parts[1:]
            }
    return {
        room: {other for other in others if other in graph and other != room} for room, others in graph.items()
    }


def reachable(graph: Graph, room: str) -> set[str]:
    """All rooms that a room imports, directly or through others. Raises where imports go round in a circle."""
    found: set[str] = set()
    waiting = list(graph[room])
    while waiting:
        other = waiting.pop()
        assert other != room, f"the imports of {room} lead back to it"
        if other not in found:
            found.add(other)
            waiting += graph[other]
    return found


def diagram() -> str:
    """The rooms as a Mermaid graph; an arrow that follows from others is left out."""
    graph = imports()
    below = {room: reachable(graph, room) for room in graph}
    lines = ["graph TD"]
    for room in sorted(graph, key=lambda room: (-len(below[room]), room)):
        direct = graph[room] - {far for other in graph[room] for far in below[other]}
        lines += [f"    {room} --> {other}" for other in sorted(direct)] or [f"    {room}"]
    return "\n".join(lines)


def layers() -> list[set[str]]:
    """The layers of the first import-linter contract, from the top."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    texts = next(item["layers"] for item in contracts["contracts"] if item["type"] == "layers")
    return [{name.strip().removeprefix("eventmill.") for name in text.split("|")} for text in texts]


def test_the_page_shows_the_rooms_as_the_imports_have_them() -> None:
    """The Mermaid graph in docs/architecture.md is exactly what the imports draw."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{diagram()}\n```" in text, (
        "put what 'python -m tests.engine.test_architecture' prints into docs/architecture.md"
    )


def test_every_room_has_a_layer() -> None:
    """A new room must be put into the contract of import-linter, which otherwise would not hold it."""
    known = set().union(*layers())
    assert set(imports()) <= known


def test_the_page_lists_the_layers_of_the_contract() -> None:
    """The table of layers in docs/architecture.md has the same rooms in the same order."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("| layer |")[2].partition("\n\n")[0]
    rows = [set(re.findall(r"`(\w+)`", line.split("|")[1])) for line in table.splitlines()[2:]]
    assert rows == layers()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_names_only_modules_that_exist(page: Path) -> None:
    """Each `folder/module.py` of ours, with or without `src/eventmill/` before it, is a file."""
    text = page.read_text(encoding="utf-8")
    named = {
        name for name in re.findall(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.py)`", text) if name.split("/")[0] != "mymill"
    }
    places = (ROOT, ROOT / "src" / "eventmill")
    assert [name for name in sorted(named) if not any((place / name).is_file() for place in places)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_name_with_its_module_is_defined_there(page: Path) -> None:
    """`module.name`: a module, or a room, of that name defines it. Names of other packages are not checked."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    missing = []
    for place, name in set(re.findall(r"`(?:[a-z_]+/)*([a-z_]+)\.(_?[a-z]\w*|[A-Z]\w+)`", text)):
        files = [path for module, path in modules().items() if place in module.split(".")]
        if place in {"eventmill", "em", *NOT_OURS} or name in FILE_ENDINGS:
            continue
        sources = "\n".join(path.read_text(encoding="utf-8") for path in files)
        submodules = {module.rpartition(".")[2] for module in modules() if place in module.split(".")}
        if name not in submodules and not re.search(rf"\b{name}\b", sources):
            missing.append(f"{place}.{name}")
    assert sorted(missing) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    """Also from one decision to another."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert [link for link in missing if not link.endswith(".png")] == []


def test_the_index_of_decisions_lists_every_page_by_its_title() -> None:
    """In order, without gaps in the numbers."""
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    titles = [page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for page in pages]
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^(\d+)\. \[(.*)\]\((.*)\)$", index, flags=re.MULTILINE)
    assert [(f"{number}. {title}", name) for number, title, name in listed] == [
        (title, page.name) for title, page in zip(titles, pages, strict=True)
    ]
    assert [int(number) for number, *_ in listed] == list(range(1, len(pages) + 1))


def test_every_decision_that_the_code_cites_exists() -> None:
    """A docstring names the page by its whole path."""
    cited = {
        page for path in modules().values() for page in re.findall(r"docs/decisions/\S*", path.read_text("utf-8"))
    }
    missing = [page for page in cited if not (ROOT / page.rstrip(".,:)")).is_file()]
    assert missing == []


if __name__ == "__main__":
    print(diagram())
