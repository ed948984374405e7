"""Write a study's page as a folder for any web server; models answer in the browser.

The page is the server's own. Its api.js is replaced by static_share/api.js, which reads what the
API says from share.json, prepares drawings (static_share/preparation.js) and asks ONNX models by
onnxruntime-web. What needs a server is hidden (`needs-server` in index.html).
"""

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from optlab.data.preprocessing import PEN_WIDTHS
from optlab.plots import interactive
from optlab.web import summary
from optlab.web.browser_runtime import find_runtime
from optlab.web.gallery import describe_gallery
from optlab.web.inference import Networks, normalization, step_at
from optlab.web.run_index import REPORT, Model, RunIndex, Study, Table
from optlab.web.selection import MAX_MODELS_PER_QUESTION, at_most_allowed

WEB = Path(__file__).parent

REASON = (
    "its networks read photographs, which a browser decodes and resizes differently than training"
)


@dataclass(frozen=True)
class Shared:
    """A shared folder: how many runs answer, its size, and what is missing and why."""

    num_runs: int
    num_bytes: int
    left_out: tuple[str, ...]


class Ensemble(nn.Module):
    """The networks of one optimizer's runs, each with its own normalization.

    Takes pixels from 0 to 255, (1, C, H, W), and returns logits, (number of runs, num_classes).
    """

    scales: Tensor  # (number of runs, C, 1, 1)
    shifts: Tensor  # likewise

    def __init__(self, members: Mapping[Model, nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(members.values())
        scales, shifts = zip(*map(normalization, members), strict=True)
        self.register_buffer("scales", torch.stack(scales))
        self.register_buffer("shifts", torch.stack(shifts))

    def forward(self, pixels: Tensor) -> Tensor:
        images = pixels * self.scales + self.shifts
        return torch.cat([network(images[i : i + 1]) for i, network in enumerate(self.networks)])


def share_study(study_dir: Path, folder: Path, runtime: Path | None = None) -> Shared:
    """Write a folder with the page of a study, for any web server.

    The runs that answer by default are shared, with the weights of their best epoch.

    Args:
        study_dir: the folder of the study, `outputs/<study>`.
        folder: to be made; may exist if it is empty.
        runtime: where onnxruntime-web was unpacked; None for the cache or npm.

    Raises:
        ValueError: nothing of the study can be shared, `folder` has files, or the runtime cannot be
            had. All of it is found before a model is exported.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty.\n\nhint: name a new folder, or delete this one")
    networks = Networks()
    study_dir = study_dir.resolve()
    studies, members, left_out = _shareable(study_dir, networks)
    script, wasm = find_runtime(runtime)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".share-") as temporary:
        partial = Path(temporary) / folder.name
        for files in (WEB / "static", interactive.STATIC, WEB / "static_share"):
            shutil.copytree(files, partial / "static", dirs_exist_ok=True)  # the last api.js counts
        shutil.copyfile(script, partial / "static" / "ort.wasm.bundle.min.js")  # a known ending
        shutil.copyfile(wasm, partial / "static" / wasm.name)
        (partial / "static" / "index.html").rename(partial / "index.html")
        content = _content(studies, members, networks, partial)
        text = json.dumps(content, default=lambda reply: json.loads(reply.model_dump_json()))
        (partial / "share.json").write_text(text)
        num_bytes = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
        if folder.exists():
            folder.rmdir()  # Windows renames to no folder that exists
        partial.rename(folder)
    num_runs = sum(len(study.models) for study in studies)
    return Shared(num_runs, num_bytes, tuple(left_out))


def _shareable(
    study_dir: Path, networks: Networks
) -> tuple[list[Study], dict[Model, nn.Module], list[str]]:
    """Return studies with only the runs to share, their networks, and what is left out."""
    table = RunIndex(study_dir.parent, only=study_dir.name).table()
    studies: list[Study] = []
    members: dict[Model, nn.Module] = {}
    left_out: list[str] = []
    for study in table.studies.values():
        if not study.reads_drawings:
            left_out.append(f"{study.name}: {REASON}")
            continue
        asked = [run for runs in study.answering.values() for run in runs]
        chosen = at_most_allowed(study.answering)
        found = {run: networks.get(run) for runs in chosen.values() for run in runs}
        usable = {run: each for run, each in found.items() if not isinstance(each, str)}
        left_out += [
            f"{study.name}, {run.run.folder.name}: {each}"
            for run, each in found.items()
            if isinstance(each, str)
        ]
        if len(found) < len(asked):
            left_out.append(
                f"{study.name}: {len(asked) - len(found)} runs more than the "
                f"{MAX_MODELS_PER_QUESTION} that one question asks"
            )
        if usable:
            studies.append(replace(study, models=tuple(usable)))
            members |= usable
        else:
            left_out.append(f"{study.name}: it has no model that can answer")
    if not studies:
        problem = "; ".join(left_out) or "it has no finished run that can be read"
        raise ValueError(
            f"{study_dir} cannot be shared: {problem}.\n\n"
            f"hint: share a study of drawings (data.preparation {' or '.join(PEN_WIDTHS)}) with a "
            "finished run"
        )
    return studies, members, left_out


def _content(
    studies: Sequence[Study], members: Mapping[Model, nn.Module], networks: Networks, folder: Path
) -> dict[str, Any]:
    """Return what the page asks, by the API's schemas, and write models and reports."""
    table = Table(MappingProxyType({study.name: study for study in studies}))
    models = summary.describe(table, networks)
    content: dict[str, Any] = {"models": models, "details": {}, "studies": {}}
    for number, study in enumerate(studies):
        report = _copy_report(study, folder, f"report{number}.html")
        for entry in models.studies:
            if entry.name == study.name:
                entry.report_url = report
        # Snapshots are not shared, so there is no training time to go through
        detail = summary.describe_study(study).model_copy(
            update={"moments": [], "report_url": report}
        )
        answering = []
        for optimizer, runs in study.answering.items():
            file = f"models/{number}-{re.sub(r'[^A-Za-z0-9_-]', '-', optimizer)}.onnx"
            export_onnx({run: members[run] for run in runs}, folder / file)
            steps = [{"id": run.id, "step": step_at(run, None)} for run in runs]
            answering.append({"optimizer": optimizer, "file": file, "models": steps})
        content["studies"][study.name] = {
            "detail": detail,
            "gallery": describe_gallery(study),
            "channels": study.input.in_channels,
            "answering": answering,
        }
        for run in study.models:
            content["details"][run.id] = summary.describe_model(run, study, networks)
    return content


def _copy_report(study: Study, folder: Path, name: str) -> str | None:
    report = study.report_files().get(REPORT)
    if report is None:
        return None
    shutil.copyfile(report, folder / name)
    return name


def export_onnx(members: Mapping[Model, nn.Module], path: Path) -> None:
    """Write the networks of one optimizer's runs as one ONNX file.

    Its input is `pixels`, float32 (1, C, H, W) from 0 to 255, prepared but not normalized; its
    output `logits`, float32 (number of runs, num_classes).
    """
    read = next(iter(members)).input
    pixels = torch.zeros(1, read.in_channels, read.image_size, read.image_size)
    program = torch.onnx.export(
        Ensemble(members).eval(),
        (pixels,),
        dynamo=True,
        verbose=False,
        input_names=["pixels"],
        output_names=["logits"],
    )
    assert program is not None  # it is where no file name is given
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces with the paths of this computer
    path.parent.mkdir(exist_ok=True)
    program.save(path, external_data=False)
