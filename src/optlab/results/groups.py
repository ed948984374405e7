"""Which runs belong together: repeats of one configuration, configurations of one problem.

Runs whose configs differ in nothing but seed and fold are one group. Groups on the same dataset
and network are one problem, and only they are compared; every image folder is a dataset of its own.
A group has the name that its study gave it, or else is called by its optimizer and by whatever else
varies: `adam · lr_multiplier=10`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optlab.results.labels import key_of, label_groups, natural_order
from optlab.results.palette import LineStyle, styles_for
from optlab.results.records import Run

_NOT_IDENTITY = {"seed", "data.fold"}


@dataclass(frozen=True, eq=False)
class Group:
    """All runs of one configuration: its seeds and folds."""

    label: str
    optimizer: str
    config: dict[str, Any]  # flat (dotted keys), without seed and fold
    runs: tuple[Run, ...]  # by seed, then fold
    style: LineStyle

    @property
    def finished(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.status == "finished")

    @property
    def diverged(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.status == "diverged")

    @property
    def failed(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.status == "failed")

    @property
    def mixes_code(self) -> bool:
        """Whether a class of the user's was edited between the runs."""
        return mix_code(self.finished)

    def accuracies(self, split: str, weights: str = "best") -> dict[tuple[int, int], float]:
        """(seed, fold) to accuracy, over the finished runs that have one."""
        values = {(run.seed, run.fold): run.metric(split, weights) for run in self.finished}
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Problem:
    """Groups that may be compared, and the runs that had to stay out, each with the reason."""

    name: str  # for file names, such as mnist-mlp
    title: str
    groups: tuple[Group, ...]
    left_out: tuple[tuple[Run, str], ...] = ()

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(run for group in self.groups for run in group.runs)

    @property
    def class_names(self) -> list[str]:
        """Empty where all runs failed before they had seen the data."""
        return next((run.class_names for run in self.runs if run.class_names), [])

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


def mix_code(runs: Iterable[Run]) -> bool:
    """Whether a class of the user's was edited between some runs; older ones do not know."""
    known = [run.record["own_code"] for run in runs if run.record.get("own_code")]
    return len(set(map(key_of, known))) > 1


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def identity_of(run: Run) -> dict[str, Any]:
    """The run's flat config without what only numbers its repeats."""
    return {
        key: value
        for key, value in sorted(flatten(run.record["config"]).items())
        if key not in _NOT_IDENTITY
    }


def refuse_mixture(runs: Iterable[Run]) -> None:
    """Raise unless the runs may stand in one comparison.

    Raises:
        ValueError: they differ in protocol version, or in the images behind one dataset name.
    """
    for what, values in (
        ("protocol versions", {str(run.record["protocol_version"]) for run in runs}),
        ("dataset checksums", {run.checksum for run in runs if run.checksum}),
    ):
        if len(values) > 1:
            raise ValueError(
                f"these runs mix {what} ({', '.join(sorted(values))}) and cannot be compared.\n\n"
                "hint: repeat the older runs with rerun=true, or give them a study of their own"
            )


def dataset_of(run: Run) -> tuple[str, str]:
    """The name of a run's dataset, and of an image folder, which all have one name, its path.

    The path and not the checksum: a run that failed before it saw the images has a path as well,
    and a picture that is added to a folder makes no second problem of it.
    """
    name = str(run.record["dataset"]["name"])
    if name != "image_folder":
        return name, ""
    return name, str((run.record["config"].get("data") or {}).get("root") or "")


def problem_key(run: Run) -> tuple[tuple[str, str], str]:
    """Equal for runs on the same dataset and network."""
    return dataset_of(run), str(run.record["model"]["name"])


def problems_of(runs: Sequence[Run], nuisance: Sequence[str] = ()) -> list[Problem]:
    """Sort runs into problems and groups.

    Args:
        runs: runs of one study, tuning trials already taken out.
        nuisance: knobs that were tuned for each optimizer; like the optimizer's own knobs they
            are in a label only where they vary within one optimizer.
    """
    by_problem: dict[tuple[tuple[str, str], str], list[Run]] = {}
    for run in runs:
        by_problem.setdefault(problem_key(run), []).append(run)
    problems = []
    for dataset, keys in _networks_by_dataset(by_problem).items():
        for models in keys:
            members = [run for model in models for run in by_problem[dataset, model]]
            problems.append(_problem(dataset[0], models, members, nuisance))
    return sorted(_told_apart(problems), key=lambda problem: problem.name)


def _told_apart(problems: list[Problem]) -> list[Problem]:
    """Image folders share a dataset's name, and may share a title: what is told twice is numbered.

    Files and tables go by these names. One image folder alone keeps its own.
    """
    names = _numbered([problem.name for problem in problems], "-")
    titles = _numbered([problem.title for problem in problems], " · #")
    return [
        replace(problem, name=name, title=title)
        for problem, name, title in zip(problems, names, titles, strict=True)
    ]


def _numbered(words: list[str], mark: str) -> list[str]:
    return [
        f"{word}{mark}{words[: index + 1].count(word)}" if words.count(word) > 1 else word
        for index, word in enumerate(words)
    ]


def _networks_by_dataset(
    by_problem: dict[tuple[tuple[str, str], str], list[Run]],
) -> dict[tuple[str, str], list[list[str]]]:
    """For each dataset, the networks of each problem.

    A study that has one configuration for each network compares the networks: one problem.
    """
    result: dict[tuple[str, str], list[list[str]]] = {}
    for dataset in sorted({dataset for dataset, _ in by_problem}):
        models = sorted(model for data, model in by_problem if data == dataset)
        one_each = all(
            len({key_of(identity_of(run)) for run in by_problem[dataset, model]}) == 1
            for model in models
        )
        together = len(models) > 1 and one_each
        result[dataset] = [models] if together else [[model] for model in models]
    return result


def _problem(dataset: str, models: list[str], runs: list[Run], nuisance: Sequence[str]) -> Problem:
    kept, left_out = _comparable(runs)
    by_identity: dict[str, list[Run]] = {}
    for run in kept:
        by_identity.setdefault(key_of(identity_of(run)), []).append(run)
    members = [
        (identity_of(same[0]), tuple(sorted(same, key=lambda run: (run.seed, run.fold))))
        for same in by_identity.values()
    ]
    # Networks that are compared as wholes bring their own settings: their names say enough.
    only = ("model.name", "optimizer.name") if len(models) > 1 else None
    labels = _given_names([same for _, same in members]) or label_groups(
        [config for config, _ in members], nuisance, only
    )
    order = sorted(range(len(members)), key=lambda index: natural_order(labels[index]))
    styles = styles_for([members[index][1][0].optimizer for index in order])
    groups = tuple(
        Group(labels[index], members[index][1][0].optimizer, *members[index], style)
        for index, style in zip(order, styles, strict=True)
    )
    titles = (run.record["dataset"].get("title") for run in kept)
    title = str(next(filter(None, titles), dataset))
    return Problem(
        name="-".join([dataset, *models]) if len(models) == 1 else dataset,
        title=f"{title}, {models[0]}" if len(models) == 1 else title,
        groups=groups,
        left_out=left_out,
    )


def _given_names(groups: Sequence[Sequence[Run]]) -> list[str] | None:
    """What the study calls its groups, as hydra/sweeper=table does by run_name: one name each.

    None where the names do not tell the groups apart, or are the default, the optimizer's.
    """
    names = [
        {str(run.record["run_name"]).removesuffix(f"-seed{run.seed}") for run in runs}
        for runs in groups
    ]
    different = len({name for some in names for name in some}) == len(groups)
    by_default = all(some == {runs[0].optimizer} for some, runs in zip(names, groups, strict=True))
    if not different or by_default or any(len(some) > 1 for some in names):
        return None
    return [name for some in names for name in some]


def _comparable(runs: list[Run]) -> tuple[list[Run], tuple[tuple[Run, str], ...]]:
    """Runs of the newest protocol on the most used images; the others with why they are out.

    A failed run has no figure to compare, so it must not make the protocol that others are out of.
    Of images none are known to be better, and a stray run on others must not throw the rest out.
    """
    newest = max(
        run.record["protocol_version"]
        for run in [run for run in runs if run.status != "failed"] or runs
    )
    left_out = [
        (run, f"protocol version {run.record['protocol_version']}, the others have {newest}")
        for run in runs
        if run.record["protocol_version"] != newest
    ]
    kept = [run for run in runs if run.record["protocol_version"] == newest]
    counts: dict[str, list[str]] = {}
    for run in kept:
        if run.checksum:
            counts.setdefault(run.checksum, []).append(str(run.record.get("finished_at") or ""))
    usual = max(
        counts, key=lambda checksum: (len(counts[checksum]), max(counts[checksum])), default=""
    )
    fitting = ("", usual)  # "": a run that failed before it had seen the images
    left_out += [
        (run, f"other images: dataset checksum {run.checksum[:12]}, the others have {usual[:12]}")
        for run in kept
        if run.checksum not in fitting
    ]
    kept = [run for run in kept if run.checksum in fitting]
    return kept, tuple(left_out)
