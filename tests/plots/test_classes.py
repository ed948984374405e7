"""Pictures of classes: numbers in cells, the worst pairs, and panels that do not collide."""

import numpy as np
from displays import note

from optlab.plots.classes import (
    ConfusionMatricesDisplay,
    ConfusionMatrixDisplay,
    PerClassF1Display,
)

LONG_LABELS = [
    f"adamw · scheduler=warmup_cosine · batch_size={size} · weight_decay_on=weights"
    for size in (64, 128, 256)
]


def test_confusion_matrix_writes_its_numbers_and_names_the_worst_pair():
    matrix = np.array([[8, 2, 0], [0, 9, 1], [0, 0, 10]])
    display = ConfusionMatrixDisplay(matrix=matrix, class_names=["cat", "dog", "bird"]).plot()
    assert note(display).endswith(": cat as dog (2), dog as bird (1)")
    assert (display.ax.get_xlabel(), display.ax.get_ylabel()) == ("predicted", "true")
    numbers = [text.get_text() for text in display.artists["numbers"]]
    assert numbers == ["8", "2", "9", "1", "10"]


def test_confusion_matrix_of_a_class_without_images():
    display = ConfusionMatrixDisplay(matrix=np.array([[5, 0], [0, 0]]), class_names=["a", "b"])
    assert " as " not in note(display.plot())


def test_confusion_matrices_have_a_panel_for_each_label():
    display = ConfusionMatricesDisplay(
        matrices=[np.eye(3, dtype=int)] * 4, labels=list("wxyz"), class_names=list("abc")
    ).plot()
    assert [panel.ax.get_title() for panel in display.artists["panels"]] == list("wxyz")


def test_titles_of_confusion_matrices_stay_clear_of_their_neighbors():
    display = ConfusionMatricesDisplay(
        matrices=[np.eye(2, dtype=int)] * 3,
        labels=LONG_LABELS,
        class_names=["airplane", "automobile"],
    ).plot()
    display.figure.canvas.draw()
    panels = [panel.ax for panel in display.artists["panels"]]
    first, second, third = (panel.title.get_window_extent() for panel in panels)
    assert first.y1 < display.figure.texts[1].get_window_extent().y0
    assert first.x1 < second.x0
    names = panels[0].get_xticklabels()
    assert third.y1 < min(name.get_window_extent().y0 for name in names)


def test_per_class_f1_writes_its_numbers_but_none_for_a_class_without_images():
    f1 = np.array([[0.991, 0.875, np.nan]])
    display = PerClassF1Display(f1=f1, labels=["adam"], class_names=["0", "1", "2"]).plot()
    assert [text.get_text() for text in display.artists["numbers"]] == ["99.1", "87.5"]
    assert [label.get_text() for label in display.ax.get_yticklabels()] == ["Adam"]
