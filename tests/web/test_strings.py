"""The catalogs of the page's strings, against each other and against what uses them."""

import json
import re
from html.parser import HTMLParser
from typing import get_args

from optlab.data.image_dataset import Preparation
from optlab.plots import interactive
from optlab.web.app import STATIC
from optlab.web.schemas import NoReference, Note
from optlab.web.surfaces import SURFACES

LANGUAGES = ["en", "es"]
PAGE = (STATIC / "index.html").read_text()
SCRIPTS = "".join(file.read_text() for file in STATIC.parent.glob("static*/*.js"))
CURVES = (interactive.STATIC / "curves.js").read_text()


def strings(language: str) -> dict[str, str | dict[str, str]]:
    catalogs = [STATIC / f"strings.{language}.json", interactive.STATIC / f"curves.{language}.json"]
    found: dict[str, str | dict[str, str]] = {}
    for catalog in catalogs:
        # As pairs, so that a key that is there twice is found
        for key, string in json.loads(catalog.read_text(), object_pairs_hook=list):
            assert key not in found, key
            found[key] = dict(string) if isinstance(string, list) else string
    return found


def placeholders(string: str | dict[str, str]) -> set[str]:
    texts = [string] if isinstance(string, str) else string.values()
    return {name for text in texts for name in re.findall(r"\{(\w+)\}", text)}


def test_languages_have_the_same_strings_with_the_same_values() -> None:
    assert re.search(r"LANGUAGES = (\[.*\]);", SCRIPTS)[1] == json.dumps(LANGUAGES)
    first, *others = map(strings, LANGUAGES)
    for other in others:
        assert other.keys() == first.keys()
        for key, string in other.items():
            assert placeholders(string) == placeholders(first[key]), key
            assert isinstance(string, str) or set(string) >= {"one", "other"}, key


def test_every_string_is_used_and_every_key_is_there() -> None:
    known = set(strings("en"))
    marked = set(re.findall(r'data-i18n(?:-[\w-]+)?="([^"]+)"', PAGE))
    quoted = set(re.findall(r'"([a-z]\w*(?:\.[\w, ]+)*)"', SCRIPTS + CURVES))
    asked = set(re.findall(r'\bt\("([^"]+)"', SCRIPTS + CURVES))
    prefixes = set(re.findall(r"\bt\([^`)]*`([\w.]+\.)\$\{", SCRIPTS + CURVES))
    assert marked | asked <= known
    used = {key for key in known if key.startswith(tuple(prefixes))} | (known & quoted) | marked
    assert known - used == set()
    assert all(any(key.startswith(prefix) for key in known) for prefix in prefixes)


class Marked(HTMLParser):
    """Collects the text of elements with data-i18n, and the attributes that are translated."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, str] = {}
        self.open: list[tuple[str, str]] = []  # of the element that is read: its key, and tags

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        for name, key in values.items():
            if name.startswith("data-i18n-"):
                self.found[key] = values[name.removeprefix("data-i18n-")]
        if self.open:
            self.found[self.open[0][1]] += f"<{tag}>"
            self.open.append((tag, ""))
        elif "data-i18n" in values:
            self.open.append((tag, values["data-i18n"]))
            self.found[values["data-i18n"]] = ""

    def handle_endtag(self, tag: str) -> None:
        if self.open:
            assert self.open.pop()[0] == tag
        if self.open:
            self.found[self.open[0][1]] += f"</{tag}>"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.found[self.open[0][1]] += data


def test_page_without_scripts_has_the_english_strings() -> None:
    parser = Marked()
    parser.feed(PAGE)
    english = strings("en")
    for key, text in parser.found.items():
        assert " ".join(text.split()) == english[key]
    assert len(parser.found) > 60


def test_names_that_the_server_sends_have_strings() -> None:
    notes = get_args(Note.model_fields["name"].annotation)
    names = {
        "preparation": get_args(Preparation),
        "novelty": get_args(NoReference),
        "curves": (*notes, *interactive.QUANTITIES),
        "surface": SURFACES,
    }
    for prefix, codes in names.items():
        assert {f"{prefix}.{code}" for code in codes} <= strings("en").keys()
