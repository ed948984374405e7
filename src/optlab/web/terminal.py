"""Build the page's answer as a table for the terminal."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from optlab.analysis.labels import display_name
from optlab.data.pictures import apply_orientation, open_image, printable_path
from optlab.plots.palette import line_style
from optlab.web.inference import Networks, ask
from optlab.web.novelty import References
from optlab.web.prediction import doubts
from optlab.web.question import prepare_for
from optlab.web.run_index import RunIndex, Study
from optlab.web.selection import choose

NUM_RUNNERS_UP = 2


def answer_table(
    image: Path,
    outputs: Path,
    study_name: str | None = None,
    networks: Networks | None = None,
    references: References | None = None,
) -> RichTable:
    """Ask each optimizer's models about one image.

    Args:
        image: a file of any format that training reads, and of any size that it does.
        outputs: the folder of studies.
        study_name: whom to ask; None for the newest study.
        networks: those that were loaded for another image; None loads them.
        references: training images that another image was compared with; None computes their
            features, where there are any.

    Raises:
        ValueError: no readable image, nothing in it, no such study or no trained model; the
            message says which.
    """
    torch.set_num_threads(1)
    with open_image(image) as file:
        picture = np.asarray(apply_orientation(file))
    study, models = choose(RunIndex(outputs).table(), study_name)
    read = study.input
    prepared = prepare_for(study, picture)
    if prepared.blank:
        raise ValueError(f"{printable_path(image)} is blank: there is nothing in it to read.")
    networks = networks or Networks()
    answer = ask(networks, models, prepared.pixels[None])
    if answer is None:
        raise ValueError(
            f"None of the models of {study.name} could be loaded.\n\n"
            "hint: the messages above say why; train the runs again with rerun=true"
        )

    title = escape(f"{printable_path(image.name)}: {study.title} ({read.title})")
    table = RichTable(title=title, title_justify="left")
    table.add_column("Optimizer")
    table.add_column("Says", justify="center")
    table.add_column("Sure", justify="right")
    table.add_column("Next")
    table.add_column("Runs", justify="right")
    top = int(answer.probabilities.argmax())
    reference = (references or References(networks)).wait(study)
    table.caption = _doubt(study, doubts(study, picture, prepared, reference))
    for one in answer.optimizers:
        differs = int(one.probabilities.argmax()) != top
        table.add_row(
            Text(display_name(one.optimizer), style=line_style(one.optimizer).color),
            *_words(one.probabilities[0], read.class_names),
            str(len(one.models)),
            style="yellow" if differs else None,
        )
    table.add_section()
    num_models = sum(len(one.models) for one in answer.optimizers)
    words = _words(answer.probabilities[0], read.class_names)
    table.add_row("Ensemble", *words, str(num_models), style="bold")
    return table


def _doubt(study: Study, found: Mapping[str, Any]) -> Text | None:
    """Return the page's warning about a picture, or why there is none, in the page's words."""
    strings = json.loads((Path(__file__).parent / "static" / "strings.en.json").read_text("utf-8"))
    reads_digits = all(len(name) == 1 and name.isdigit() for name in study.input.class_names)
    novelty, reason = found["novelty"], found["no_novelty"]
    if (found["num_digits"] or 1) > 1:
        return Text(strings["doubt.digits" if reads_digits else "doubt.things"], "yellow")
    if novelty and novelty.unfamiliar:
        return Text(strings["doubt.no_digit" if reads_digits else "doubt.nothing"], "yellow")
    if reason:
        return Text(strings["cards.no_novelty"].format(reason=strings[f"novelty.{reason}"]))
    return None


def _words(probabilities: np.ndarray, class_names: Sequence[str]) -> tuple[str, str, str]:
    """Return the top class, its probability, and the runners-up."""
    names = [escape(name) for name in class_names]
    order = np.argsort(-probabilities)
    runners_up = order[1 : 1 + NUM_RUNNERS_UP]
    return (
        names[order[0]],
        f"{probabilities[order[0]]:.1%}",
        ", ".join(f"{names[i]} {probabilities[i]:.1%}" for i in runners_up),
    )
