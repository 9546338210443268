"""The pages of docs/ can be read in a terminal, and what they point to is there."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT, code_blocks, prose

README = ROOT / "README.md"
ALL = [README, *PAGES]
IDS = [str(page.relative_to(ROOT)) for page in ALL]

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:nodes|workflows|activities|gateway|tests|examples|src)/[\w./-]*)`")
_OURS = "nodes|workflows|activities|gateway"
_MODULE = re.compile(rf"(?<![\w./-])(?:(?:innkeeper\.(?:{_OURS})|tests)(?:\.\w+)+|(?:{_OURS})(?:\.[a-z_]+){{2,}})")


def anchors(page: Path) -> set[str]:
    """The anchors of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_there(name: str) -> bool:
    """Is this the dotted name of a module or package, or of something in one?"""
    *above, last = name.removeprefix("innkeeper.").split(".")
    home, whole = ROOT.joinpath(*above), ROOT.joinpath(*above, last)
    if whole.is_dir() or whole.with_suffix(".py").is_file():
        return True
    file = home / "__init__.py" if home.is_dir() else home.with_suffix(".py")
    return file.is_file() and bool(re.search(rf"\b{last}\b", file.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=IDS[1:])
def test_no_line_is_longer_than_a_terminal(page: Path) -> None:
    assert [(number, len(line)) for number, line in prose(page.read_text()) if len(line) > 120] == []


@pytest.mark.parametrize("page", ALL, ids=IDS)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" in link or (target.exists() and (not anchor or anchor in anchors(target))):
            continue
        broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", ALL, ids=IDS)
def test_every_file_and_module_that_is_named_is_there(page: Path) -> None:
    text = page.read_text()
    gone = [path for path in _PATH.findall(text) if not (ROOT / path).exists()]
    gone += [name for name in _MODULE.findall(text) if not is_there(name)]
    assert gone == []


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in ALL
        for link in _LINK.findall(page.read_text())
        if "://" not in link and not link.startswith("#")
    }
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in linked] == []


def test_every_decision_is_in_its_index_and_short() -> None:
    folder = DOCS / "decisions"
    index = (folder / "README.md").read_text()
    pages = sorted(page for page in folder.glob("*.md") if page.name != "README.md")
    assert [page.name for page in pages if f"]({page.name})" not in index] == []
    assert [page.name[:4] for page in pages] == [f"{number:04d}" for number in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]}. ")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
        assert text.count("\n") <= 45


def test_the_node_of_the_readme_runs() -> None:
    from innkeeper.nodes.testing import collect

    (source,) = [block for block in code_blocks(README.read_text(), "python") if "NodeDefinition" in block]
    module: dict[str, object] = {}
    exec(compile(source, "README.md", "exec"), module)
    chunks, outputs = collect(module["definition"], {"text": "so it is"})  # type: ignore[arg-type]
    assert [chunk.content for chunk in chunks] == ["SO ", "IT ", "IS "]
    assert outputs == {"count": 3}


def test_the_readme_is_a_first_page_and_no_manual() -> None:
    assert README.read_text().count("\n") <= 150


def test_pictures_load_nothing_from_elsewhere() -> None:
    pictures = sorted(DOCS.rglob("*.svg"))
    assert pictures
    for picture in pictures:
        text = picture.read_text()
        ElementTree.fromstring(text)
        assert set(re.findall(r"https?://[^\"\s)]*", text)) == {"http://www.w3.org/2000/svg"}
        assert "@font-face" not in text


def test_the_picture_of_the_demo_ends_well() -> None:
    text = (DOCS / "images" / "demo.svg").read_text().replace("&#160;", " ")
    last = text[text.rindex('class="frame"') :]
    assert "attempt 2" in last
    assert "kill -9" in last
