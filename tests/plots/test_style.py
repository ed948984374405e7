"""The base of all pictures: titles, rows, legends, and settings that stay as they were."""

import threading
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import pytest

from optlab.plots.style import DARK, INK, Display, RowsDisplay, annotate_row, name_lines, shortened

LONG = "adamw · scheduler=warmup_cosine · batch_size=64 · weight_decay_on=weights"


@dataclass(eq=False, kw_only=True)
class Lines(Display):
    """As many lines as names, the last name's on top."""

    names: list[str]
    note: str = ""

    def draw(self, ax):
        lines = [
            ax.plot([0, 1], [0, place], label=name)[0] for place, name in enumerate(self.names)
        ]
        ax.set_xlabel("x")
        self.artists["names"] = name_lines(ax, lines, range(len(lines)))
        return self.note


@dataclass(eq=False, kw_only=True)
class Rows(RowsDisplay):
    def draw(self, ax):
        for row in self.label_rows(ax):
            self.artists["words"] = [annotate_row(ax, row, "3 of 5 runs")]
        return ""


def drawn(display):
    display.plot().figure.canvas.draw()
    return display


def is_inside(display, artist):
    box, figure_box = artist.get_window_extent(), display.figure.bbox
    return figure_box.x0 <= box.x0 and box.x1 <= figure_box.x1 and box.y0 >= figure_box.y0


def test_settings_are_those_of_the_style_while_drawing_and_as_before_after_it():
    before = dict(matplotlib.rcParams)
    display = Lines(names=["a"]).plot()
    assert not display.ax.spines["top"].get_visible()
    assert dict(matplotlib.rcParams) == before


def test_display_that_is_not_drawn_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match=r"\bLines\b(?s:.*)hint: .*\bplot\(\)"):
        Lines(names=["a"]).save(tmp_path / "x.png")


def test_all_formats_repeat_their_bytes_and_the_svg_follows_a_dark_page():
    first, second = (Rows(labels=["radam"]).plot().in_all_formats() for _ in range(2))
    assert first == second
    assert (first["png"][:4], first["pdf"][:5]) == (b"\x89PNG", b"%PDF-")
    svg = first["svg"].decode()
    assert "@media screen and (prefers-color-scheme: dark)" in svg
    assert f'[style*="fill: {INK.lower()}"]{{fill:{DARK[INK]}!important}}' in svg
    ElementTree.fromstring(svg)


def test_long_names_are_cut_and_stay_apart():
    assert shortened(["cat", "aeroplane, civil"], 10) == ["cat", "aeroplane…"]
    assert shortened(["class of cats", "class of dogs"], 9) == ["0: class…", "1: class…"]


def test_long_note_takes_two_lines_above_the_axes():
    note = "a note that goes on and on; " * 5
    display = drawn(Lines(names=["a"], title="Title", note=note))
    title, shown = display.figure.texts
    assert shown.get_text().count("\n") == 1
    assert is_inside(display, shown)
    axes_top = display.ax.get_window_extent().y1
    assert axes_top < shown.get_window_extent().y0 < title.get_window_extent().y0


def test_names_are_in_the_order_of_the_ends_and_next_to_the_axes():
    display = drawn(Lines(names=["low", "high"]))
    legend = display.ax.get_legend()
    assert display.artists["names"] == ["high", "low"]
    assert legend.get_window_extent().x0 >= display.ax.get_window_extent().x1
    assert is_inside(display, legend)


@pytest.mark.parametrize("names", [[f"optimizer{n}" for n in range(17)], [LONG, LONG + "x"]])
def test_many_or_long_names_are_below_the_axes(names):
    display = drawn(Lines(names=names))
    (legend,) = display.figure.legends
    assert legend.get_window_extent().y1 < display.ax.xaxis.label.get_window_extent().y0
    assert is_inside(display, legend)


def test_rows_are_as_high_as_their_labels_and_words_fit_next_to_them():
    display = drawn(Rows(labels=[LONG, LONG, LONG]))
    labels = [label.get_window_extent() for label in display.ax.get_yticklabels()]
    assert all(upper.y0 > lower.y1 for upper, lower in pairwise(labels))
    assert all(is_inside(display, word) for word in display.artists["words"])


def test_given_axes_are_used_and_get_the_title():
    ax = Lines(names=["a"]).plot().ax
    display = Lines(names=["b"], title="Title", note="note")
    assert display.plot(ax) is display
    assert display.ax is ax
    assert ax.get_title() == "Title\nnote"


def test_displays_can_be_drawn_in_threads_at_once():
    expected = Lines(names=["a", "b"], title="Title").plot().png()
    found: list[bytes] = []

    def draw():
        found.append(Lines(names=["a", "b"], title="Title").plot().png())

    threads = [threading.Thread(target=draw) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 3
