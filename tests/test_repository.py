"""The files of the repository: links lead somewhere, versions agree, tests repeat no message."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import optlab

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").glob("*.md")]


def anchors(page):
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_link_within_the_repository_leads_to_a_file_and_a_heading(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if ":" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name != "CHANGELOG.md"],  # which names what was
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_file_that_a_page_names_exists(page):
    for name in re.findall(r"`((?:src|conf|tests|scripts)/[\w./-]+)`", page.read_text()):
        words = re.split(r"[/._]", name)
        is_of_reader = any(word.isupper() or word in ("my", "mine") for word in words)
        folders = (ROOT, ROOT / "docs" / "extending")
        assert is_of_reader or any((folder / name).exists() for folder in folders), name


def test_pages_with_links_were_found():
    assert {page.name for page in PAGES} >= {"README.md", "CONTRIBUTING.md", "extending.md"}


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    released = re.findall(r"^## (\d\S*) - (\S+),", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert project["version"] == optlab.__version__ == citation["version"] == released[0][0]
    assert citation["date-released"].isoformat() == released[0][1]


def test_newest_entry_of_the_changelog_names_the_protocol_version_of_the_code():
    newest = re.search(r"^## .*, protocol (\d+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest and int(newest[1]) == optlab.PROTOCOL_VERSION


def test_glossary_is_in_order_and_has_at_most_30_terms():
    page = (ROOT / "docs" / "glossary.md").read_text()
    terms = re.findall(r"^\| \*\*(.+?)\*\* \|", page, re.MULTILINE)
    assert 20 < len(terms) <= 30
    assert terms == sorted(terms)


def phrases(folder, num_words=5):
    """Every run of this many words in the strings of a folder's files; docstrings are left out."""
    found = set()
    for path in folder.rglob("*.py"):
        nodes = [*ast.walk(ast.parse(path.read_text()))]
        docs = {node.value for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docs:
                for run in re.findall(r"(?:[a-z']+ )+[a-z']+", node.value.lower()):
                    words = run.split()
                    found |= {*zip(*(words[start:] for start in range(num_words)), strict=False)}
    return found


def test_no_test_repeats_five_words_of_a_message():
    messages = phrases(ROOT / "src")
    assert len(messages) > 1000
    assert not messages & phrases(ROOT / "tests")
