"""The page's answer as a table for the terminal."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from optlab.analysis.labels import display_name
from optlab.data.pictures import opened, shown, upright
from optlab.data.preprocessing import prepare
from optlab.plots.palette import style_of
from optlab.web.inference import Networks, ask
from optlab.web.run_index import RunIndex
from optlab.web.selection import choose

NUM_RUNNERS_UP = 2


def answer_table(
    image: Path,
    outputs: Path,
    study_name: str | None = None,
    networks: Networks | None = None,
) -> RichTable:
    """Ask each optimizer's models about one image.

    Args:
        image: a file of any format that training reads, and of any size that it does.
        outputs: the folder of studies.
        study_name: whom to ask; None for the newest study.
        networks: those that were loaded for another image; None loads them.

    Raises:
        ValueError: no readable image, nothing in it, no such study or no trained model; the
            message says which.
    """
    torch.set_num_threads(1)
    with opened(image) as file:
        picture = np.asarray(upright(file))
    study, models = choose(RunIndex(outputs).table(), study_name)
    read = study.input
    prepared = prepare(
        picture,
        preparation=read.preparation,
        in_channels=read.in_channels,
        image_size=read.image_size,
    )
    if prepared.blank:
        raise ValueError(f"{shown(image)} is blank: there is nothing in it to read.")
    answer = ask(networks or Networks(), models, prepared, with_saliency=False)
    if answer is None:
        raise ValueError(f"None of the models of {study.name} could be loaded.")

    title = escape(f"{shown(image.name)}: {study.title} ({read.title})")
    table = RichTable(title=title, title_justify="left")
    table.add_column("Optimizer")
    table.add_column("Says", justify="center")
    table.add_column("Sure", justify="right")
    table.add_column("Next")
    table.add_column("Runs", justify="right")
    top = int(answer.probabilities.argmax())
    for said in answer.optimizers:
        differs = int(said.probabilities.argmax()) != top
        table.add_row(
            Text(display_name(said.optimizer), style=style_of(said.optimizer).color),
            *_words(said.probabilities, read.class_names),
            str(len(said.models)),
            style="yellow" if differs else None,
        )
    table.add_section()
    num_models = sum(len(said.models) for said in answer.optimizers)
    words = _words(answer.probabilities, read.class_names)
    table.add_row("Ensemble", *words, str(num_models), style="bold")
    return table


def _words(probabilities: np.ndarray, class_names: Sequence[str]) -> tuple[str, str, str]:
    """Top class, its probability, and the runners-up."""
    names = [escape(name) for name in class_names]
    order = np.argsort(-probabilities)
    runners_up = order[1 : 1 + NUM_RUNNERS_UP]
    return (
        names[order[0]],
        f"{probabilities[order[0]]:.1%}",
        ", ".join(f"{names[i]} {probabilities[i]:.1%}" for i in runners_up),
    )
