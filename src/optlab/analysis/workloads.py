"""Group runs into configurations (repeats) and workloads (data set and network).

Runs whose configs differ only in seed and fold repeat one configuration, and so do the winners of a
configuration that was tuned for every seed. Configurations on the same
dataset and network share a workload, and only they are compared. Every image folder is a dataset of
its own.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optlab.analysis.labels import as_text, label_configurations, natural_order
from optlab.analysis.records import Run
from optlab.analysis.rounds import Progress
from optlab.runs.study_file import WinnerRow

_NOT_IDENTITY = {"seed", "data.fold"}

WorkloadKey = tuple[tuple[str, str], str]  # dataset (its name, an image folder's path), network


@dataclass(frozen=True, eq=False)
class Configuration:
    """All runs of one configuration: its seeds and folds.

    Attributes:
        label: a short unique name.
        optimizer: its name.
        config: flat (dotted keys), without seed and fold, and without options that were tuned to
            another value for each seed.
        runs: by seed, then fold.
        tuned_from: hash of the config before its tuning; empty if it was not tuned.
        shared_tuning: the seeds of the tuning that chose the options of all runs; empty if they
            were not tuned, or for each seed.
        trials_per_seed: trials that one more seed costs; 0 unless it was tuned for each seed.
        looks: numbers of seeds at which reports have compared it.
        progress: in the rounds of an adaptive sweep.
    """

    label: str
    optimizer: str
    config: dict[str, Any]
    runs: tuple[Run, ...]
    tuned_from: str = ""
    shared_tuning: tuple[int, ...] = ()
    trials_per_seed: int = 0
    looks: frozenset[int] = frozenset()
    progress: Progress | None = None

    @property
    def key(self) -> str:
        """16 hexadecimal digits that are equal for equal configurations, in any study."""
        return self.tuned_from or hashlib.sha256(as_text(self.config).encode()).hexdigest()[:16]

    @property
    def finished(self) -> tuple[Run, ...]:
        return self._with_status("finished")

    @property
    def diverged(self) -> tuple[Run, ...]:
        return self._with_status("diverged")

    @property
    def failed(self) -> tuple[Run, ...]:
        return self._with_status("failed")

    @property
    def has_stopped(self) -> bool:
        """Whether an adaptive sweep gives it no further seeds, unlike others."""
        return self.progress is not None and not self.progress.is_open

    def _with_status(self, status: str) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.status == status)

    @property
    def judged_weights(self) -> str:
        """`last`, or with early stopping `best`."""
        return self.runs[0].judged_weights

    @property
    def mixes_code(self) -> bool:
        """Whether a class of the user's was edited between the runs."""
        return mixes_code(self.finished)

    def accuracies(self, split: str, weights: str | None = None) -> dict[tuple[int, int], float]:
        """(seed, fold) to accuracy at the judged weights, over the finished runs that have one."""
        values = {(run.seed, run.fold): run.metric(split, weights) for run in self.finished}
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Workload:
    """Configurations that may be compared, and the runs that may not, each with the reason."""

    name: str  # for file names, such as mnist-mlp
    title: str
    configurations: tuple[Configuration, ...]
    left_out: tuple[tuple[Run, str], ...] = ()

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(run for one in self.configurations for run in one.runs)

    @property
    def class_names(self) -> list[str]:
        """Empty where all runs failed before they had seen the data."""
        return next((run.class_names for run in self.runs if run.class_names), [])

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


def mixes_code(runs: Iterable[Run]) -> bool:
    """Whether a class of the user's was edited between runs that record its fingerprint."""
    return len({as_text(run.record.own_code) for run in runs if run.record.own_code}) > 1


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def shared_config(run: Run) -> dict[str, Any]:
    """The run's flat config without the keys that only number its repeats."""
    flat = sorted(flatten(run.record.config).items())
    return {key: value for key, value in flat if key not in _NOT_IDENTITY}


def refuse_mixture(runs: Iterable[Run]) -> None:
    """Raise unless the runs may be compared.

    Raises:
        ValueError: they differ in protocol version, or in the images behind one dataset name.
    """
    for what, values in (
        ("protocol versions", {str(run.record.protocol_version) for run in runs}),
        ("dataset checksums", {run.checksum for run in runs if run.checksum}),
    ):
        if len(values) > 1:
            raise ValueError(
                f"these runs mix {what} ({', '.join(sorted(values))}) and cannot be compared.\n\n"
                "hint: repeat the older runs with rerun=true, or give them a study of their own"
            )


def workload_key(run: Run) -> WorkloadKey:
    """Equal for runs on the same dataset and network.

    Image folders share one name and are distinguished by their path; `read_study` has given copies
    of a folder the same one. The checksum would not do: a run that failed before it saw the images
    has none, and it changes with every added picture.
    """
    dataset = run.record.dataset.name
    root = run.data_options.get("root") if dataset == "image_folder" else ""
    return (dataset, str(root or "")), run.record.model.name


def group_runs(
    runs: Sequence[Run],
    nuisance: Sequence[str] = (),
    winners: Mapping[str, WinnerRow] | None = None,
) -> list[Workload]:
    """Sort runs into workloads and configurations.

    Args:
        runs: runs of one study, without the trials of a tuning.
        nuisance: options that were tuned for each optimizer. Like the optimizer's own options they
            appear in a label only where they vary within one optimizer.
        winners: of a tuning, by the hashes of their runs on fresh seeds.
    """
    winners = winners or {}
    by_workload = _sorted_into(runs, workload_key)
    workloads = []
    for dataset in sorted({dataset for dataset, _ in by_workload}):
        models = sorted(model for data, model in by_workload if data == dataset)
        members = [by_workload[dataset, model] for model in models]
        # A study with one configuration for each network compares the networks: one workload
        one_each = all(
            len({_configuration_of(run, winners) for run in some}) == 1 for some in members
        )
        if len(models) > 1 and one_each:
            every = [run for some in members for run in some]
            workloads.append(_workload(dataset[0], models, every, nuisance, winners))
        else:
            workloads += [
                _workload(dataset[0], [model], some, nuisance, winners)
                for model, some in zip(models, members, strict=True)
            ]
    # Several image folders share a name, and may share a title
    names = _numbered([workload.name for workload in workloads], "-")
    titles = _numbered([workload.title for workload in workloads], " · #")
    workloads = [
        replace(workload, name=name, title=title)
        for workload, name, title in zip(workloads, names, titles, strict=True)
    ]
    return sorted(workloads, key=lambda workload: workload.name)


def _configuration_of(run: Run, winners: Mapping[str, WinnerRow]) -> str:
    """Equal for the runs of one configuration: of a tuned one, that before its tuning."""
    winner = winners.get(run.hash)
    return as_text(shared_config(run)) if winner is None else f"tuned {winner.configuration}"


def _sorted_into(runs: Iterable[Run], key: Callable[[Run], Any]) -> dict[Any, list[Run]]:
    found: dict[Any, list[Run]] = {}
    for run in runs:
        found.setdefault(key(run), []).append(run)
    return found


def _numbered(words: list[str], mark: str) -> list[str]:
    return [
        f"{word}{mark}{words[: index + 1].count(word)}" if words.count(word) > 1 else word
        for index, word in enumerate(words)
    ]


def _workload(
    dataset: str,
    models: list[str],
    runs: list[Run],
    nuisance: Sequence[str],
    winners: Mapping[str, WinnerRow],
) -> Workload:
    kept, left_out = _comparable(runs)
    repeats = [
        sorted(same, key=lambda run: (run.seed, run.fold))
        for same in _sorted_into(kept, lambda run: _configuration_of(run, winners)).values()
    ]
    configs = [_in_common([shared_config(run) for run in same]) for same in repeats]
    # Networks that are compared as a whole come with their own options: their names say enough
    only = ("model.name", "optimizer.name") if len(models) > 1 else None
    labels = _given_names(repeats) or label_configurations(configs, nuisance, only)
    configurations = [
        Configuration(label, same[0].optimizer, config, tuple(same))
        for label, config, same in zip(labels, configs, repeats, strict=True)
    ]
    configurations = [_tuned(one, winners) for one in configurations]
    titles = (run.record.dataset.title for run in kept)
    title = next(filter(None, titles), dataset)
    return Workload(
        name=f"{dataset}-{models[0]}" if len(models) == 1 else dataset,
        title=f"{title}, {models[0]}" if len(models) == 1 else title,
        configurations=tuple(sorted(configurations, key=lambda one: natural_order(one.label))),
        left_out=left_out,
    )


def _tuned(one: Configuration, winners: Mapping[str, WinnerRow]) -> Configuration:
    """A configuration with what its tuning says of it."""
    winner = winners.get(one.runs[0].hash)
    if winner is None:
        return one
    if winner.for_seed is None:
        shared, trials_per_seed = tuple(winner.tuning_seeds), 0
    else:
        shared, trials_per_seed = (), winner.num_trials
    return replace(
        one,
        tuned_from=winner.configuration,
        shared_tuning=shared,
        trials_per_seed=trials_per_seed,
    )


def _in_common(configs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The keys whose values all configs share."""
    first, *others = configs
    return {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in others)
    }


def _given_names(repeats: Sequence[Sequence[Run]]) -> list[str] | None:
    """The run names that the study gave, as hydra/sweeper=table does: one for each configuration.

    None where names do not tell the configurations apart, or are the default, the optimizer's.
    """
    names = [
        {run.record.run_name.removesuffix(f"-seed{run.seed}") for run in runs} for runs in repeats
    ]
    given = [name for some in names for name in some]
    by_default = given == [runs[0].optimizer for runs in repeats]
    if by_default or any(len(some) > 1 for some in names) or len(set(given)) < len(repeats):
        return None
    return given


def _comparable(runs: list[Run]) -> tuple[list[Run], tuple[tuple[Run, str], ...]]:
    """Runs of the newest protocol on the images used most; the others with the reason.

    A failed run has no number to compare, so it does not choose the protocol. No images are known
    to be the right ones, and a stray run on others must not exclude the rest.
    """
    has_numbers = [run for run in runs if run.status != "failed"]
    newest = max(run.record.protocol_version for run in has_numbers or runs)
    current = [run for run in runs if run.record.protocol_version == newest]
    with_images = _sorted_into((run for run in current if run.checksum), lambda run: run.checksum)

    def num_and_latest(checksum: str) -> tuple[int, str]:
        ends = [run.record.finished_at or "" for run in with_images[checksum]]
        return len(ends), max(ends)

    usual = max(with_images, key=num_and_latest, default="")
    kept, left_out = [], []
    for run in runs:
        version = run.record.protocol_version
        if version != newest:
            left_out.append((run, f"protocol version {version}, the others have {newest}"))
        elif run.checksum not in ("", usual):  # "": it failed before it had seen the images
            reason = f"dataset checksum {run.checksum[:12]}, the others have {usual[:12]}"
            left_out.append((run, f"other images: {reason}"))
        else:
            kept.append(run)
    return kept, tuple(left_out)
