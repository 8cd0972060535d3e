"""What is written about the program is true of it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from executor_worker.settings.catalogue import setting_fields
from scripts import write_docs
from tests.kit.paths import ROOT

DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), ROOT / "tests" / "README.md", *(ROOT / "docs").rglob("*.md")],
)


def read(name: str) -> str:
    return (ROOT / name).read_text()


def table_of_settings(text: str) -> dict[str, str]:
    """The defaults in the table rows whose first cell is a variable's name."""
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if re.match(r"\| `[A-Z_]+`", line)]
    return {re.sub(r"`([A-Z_]+)`.*", r"\1", name.strip()): default.strip() for name, default, *_ in rows}


def plain(text: str) -> str:
    return text.replace("`", "").strip()


def test_what_is_derived_from_the_settings_is_up_to_date() -> None:
    """`make docs` would change nothing."""
    assert write_docs.page(read("docs/SETTINGS.md")) == read("docs/SETTINGS.md")
    assert write_docs.environment(read("systemd/executor-worker.env")) == read("systemd/executor-worker.env")


def test_settings_page_lists_every_setting_with_its_default() -> None:
    """The table of settings is the program's own, no more and no less."""
    documented = {name: plain(default) for name, default in table_of_settings(read("docs/SETTINGS.md")).items()}
    assert documented == {name.upper(): plain(setting.default) for name, setting in setting_fields().items()}


def test_environment_file_names_every_setting() -> None:
    """The file for systemd has each setting, commented out; secrets as files."""
    named = re.findall(r"^#([A-Z_]+)=", read("systemd/executor-worker.env"), re.MULTILINE)
    expected = [f"{name}_FILE" if setting.secret else name for name, setting in setting_fields().items()]
    assert named == [name.upper() for name in expected]


def test_environment_file_explains_every_setting() -> None:
    """Above each line stands what the program itself says of the setting, and on or above it the default."""
    lines = read("systemd/executor-worker.env").splitlines()
    for name, setting in setting_fields().items():
        at = next(number for number, line in enumerate(lines) if re.match(rf"#{name.upper()}(_FILE)?=", line))
        comment, value = lines[at - 1], lines[at].partition("=")[2]
        assert comment.startswith(f"# {plain(setting.meaning)}"), comment
        if setting.default and not setting.default.startswith("required"):
            assert value == plain(setting.default) or f"Default: {plain(setting.default)}." in comment, comment


def test_the_runbook_speaks_of_events_that_there_are() -> None:
    """What it says the log shows is in the table of events."""
    known = set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)`", read("docs/LOGS.md"), re.MULTILINE))
    kinds = "|".join(sorted({name.partition(".")[0] for name in known}))
    said = set(re.findall(rf"(?<![\w.:/-])((?:{kinds})\.[a-z_]+)\b", read("docs/OPERATIONS.md")))
    assert len(said) > 20
    assert said - known <= {"redis.conf", "redis.example", "node.progress"}  # a file, a host, a stream


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_sections(document: Path) -> None:
    """Every `#section` is a heading of the file it is looked for in."""
    for path, section in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text()):
        target = document.parent / path if path else document
        headings = re.findall(r"^#+ (.*)", target.read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert section in anchors, f"{path}#{section}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Every link to a file of ours points at one that is there."""
    links = re.findall(r"\]\(([^)#]+)", document.read_text())
    assert not [link for link in links if "://" not in link and not (document.parent / link).exists()]


def test_what_dies_is_tested_as_the_page_says() -> None:
    """Each test that the table of failures names is there."""
    named = set(re.findall(r"\*(test_\w+)\*", read("docs/GRAPHS.md")))
    there = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert len(named) >= 10
    assert named <= there


def test_targets_the_readme_names_exist() -> None:
    """Each `make …` in the README is a target."""
    named = set(re.findall(r"(?:\$ |`)make ([a-z-]+)", read("README.md")))
    assert named
    assert named <= set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))


def test_every_page_is_linked_from_an_index() -> None:
    """Nobody has to know that a page is there: docs/README.md, or its folder's, names it."""
    for folder in (ROOT / "docs", ROOT / "docs" / "decisions"):
        index = (folder / "README.md").read_text()
        unlinked = [page.name for page in folder.glob("*.md") if page.name != "README.md" and page.name not in index]
        assert not unlinked, (folder.name, unlinked)


def test_every_folder_of_the_tree_is_in_the_design() -> None:
    """A room that is there is drawn, and one that is drawn is there."""
    tree = read("docs/DESIGN.md").split("## The tree")[1].split("```")[1]
    drawn = set(re.findall(r"([a-z_]+)/", tree))
    packages = {
        folder.name
        for top in ("executor_worker", "supervisor", "orchestrator")
        for folder in (ROOT / top).glob("*/")
        if (folder / "__init__.py").exists()
    }
    assert packages <= drawn, packages - drawn


def codes_of_checks() -> set[str]:
    """The codes that checks of graphs give, as their source has them."""
    codes = {"too_many_nodes", "too_many_edges", "more_problems"}  # these are put together, or no check's
    for file in (ROOT / "executor_worker" / "graph").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            given: list[ast.expr | None] = []
            if isinstance(node, ast.Call):
                given += [word.value for word in node.keywords if word.arg == "code"]
                given += node.args[1:2] if isinstance(node.func, ast.Attribute) and node.func.attr == "add" else []
            elif isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "code":
                given.append(node.value)
            codes |= {one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return codes


def test_graphs_page_lists_every_code_of_a_check() -> None:
    """Each code that a check of a graph can give is in the tables, and no other."""
    checked = read("docs/GRAPHS.md").split("## What is checked")[1]
    rows = "".join(line.split(" | ")[0] for line in checked.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([a-z_]+)`", rows)) == codes_of_checks()


def test_readme_can_be_read_in_one_go() -> None:
    """200 lines; details have pages of their own, and its first screen says what it is not."""
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 200, "put details into docs/"
    assert "**It is not**" in "\n".join(lines[:24])
