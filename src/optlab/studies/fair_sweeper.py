"""Give every optimizer the same number of trials, and run each winner on fresh seeds.

Tuning uses different seeds than the report, so that a lucky seed is not mistaken for a good
optimizer. With equal budgets, a well-tuned favorite is not compared with an untuned default. The
fair sweeper works with every launcher: it only passes lists of overrides and reads records.

`search` implements the selection. Trials are written to study.json (`tuning_rows`) before they
start, so a trial of a killed sweep never counts as a result. The same command resumes the sweep.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from optlab.runs.record import find_record
from optlab.runs.study_file import TrialRow, TrialStatus, read_study_file
from optlab.studies.grid_sweeper import Compose, compose_seeds
from optlab.studies.search import Search, Trial, rounds
from optlab.studies.searches import FairOptions, build_overrides, build_search
from optlab.studies.tuning_rows import add_rows, read_files, restore_if_not_started
from optlab.training.plan import Plan
from optlab.training.run_id import run_dir, run_hash


@dataclass
class TrialRunner:
    """Runs the trials and the winners of a sweep, and writes them to study.json."""

    launcher: Launcher
    compose: Compose
    studies: Mapping[str, Path]  # folder of the study, by hash of the configuration
    trial_overrides: list[str]  # of all trials
    num_runs: int = 0
    returned: list[Sequence[JobReturn]] = field(default_factory=list)

    def launch(self, jobs: list[list[str]]) -> None:
        if jobs:
            self.returned.append(self.launcher.launch(jobs, initial_job_idx=self.num_runs))
            self.num_runs += len(jobs)

    def job(self, trial: Trial, overrides: list[str]) -> list[str]:
        """Return all overrides of a trial's run."""
        shorter = [] if trial.num_epochs is None else [f"trainer.max_epochs={trial.num_epochs}"]
        seed = f"seed={trial.seed}"
        return [*trial.search.typed, *overrides, *shorter, seed, *self.trial_overrides]

    def tune(self, trials: Sequence[Trial]) -> None:
        """Write trials to study.json, run them and pass their outcomes to their searches."""
        if not trials:
            return
        rows: dict[Path, TrialRow] = {}
        jobs = []
        for trial in trials:
            overrides, values = build_overrides(trial.search, trial.values, self.compose)
            jobs.append(self.job(trial, overrides))
            composed = self.compose(jobs[-1])
            if run_hash(composed) in {row.hash for row in trial.search.trials}:
                continue  # the same run as an earlier trial: the values differ only nominally
            rows[run_dir(composed)] = row = TrialRow(
                optimizer=trial.search.optimizer,
                configuration=trial.search.configuration,
                typed=trial.search.typed,
                hash=run_hash(composed),
                status="unfinished",
                tuning_seed=trial.seed,
                for_seed=trial.search.for_seed,
                num_epochs=trial.num_epochs,
                overrides=overrides,
                params=values,
            )
            trial.search.trials.append(row)
        before = read_files(self.studies.values())
        update_trials(rows, missing_status="unfinished")
        self._write_rows(rows.values())
        with restore_if_not_started(before, rows):
            self.launch(jobs)
        chance_accuracy = update_trials(rows, missing_status="failed")
        for trial in trials:
            trial.search.chance_accuracy = max(chance_accuracy, trial.search.chance_accuracy)
        self._write_rows(rows.values())

    def finish(self, searches: Sequence[Search]) -> None:
        """Write the winners to study.json, and run them on their fresh seeds."""
        winners: list[TrialRow] = []
        jobs: list[list[str]] = []
        for search in searches:
            winner = search.winner()
            if winner is None:
                continue
            chosen = [*search.typed, *winner.overrides]
            jobs += [[*chosen, f"seed={seed}"] for seed in search.fresh_seeds]
            runs = compose_seeds(self.compose, chosen, search.fresh_seeds)
            winner.runs = [run_hash(run) for run in runs]
            winners.append(winner)
        self._write_rows(winners)
        _print_cautions(self.studies.values())
        self.launch(jobs)

    def _write_rows(self, rows: Iterable[TrialRow]) -> None:
        add_rows((self.studies[row.configuration], row) for row in rows)


def sweep(
    parsed: Sequence[Override],
    compose: Compose,
    *,
    launcher: Launcher,
    config: DictConfig,
    options: FairOptions,
) -> list[Sequence[JobReturn]]:
    """Tune every optimizer on the command line, then run each winner on fresh seeds.

    Raises:
        ValueError: if data.fold is swept, an optimizer has no search space, or a study.json cannot
            be read.
    """
    if any(each.key_or_group == "data.fold" and each.is_sweep_override() for each in parsed):
        raise ValueError(
            "hydra/sweeper=fair would tune each data.fold separately, as if each fold were a "
            "configuration.\n\n"
            "hint: tune without folds, then run the winners' options with data.fold=..."
        )
    composed = [(typed, compose(typed)) for typed in list_combinations(parsed)]
    untuned = [build_search(typed, base, options) for typed, base in composed]
    distinct = {search.configuration: search for search in untuned}
    searches = [part for search in distinct.values() for part in options.list_searches(search)]
    runs = TrialRunner(
        launcher,
        compose,
        {
            search.configuration: run_dir(base).parent
            for search, (_, base) in zip(untuned, composed, strict=True)
        },
        trial_overrides=["effect=null"] if config.effect else [],  # it is for the fresh seeds
    )
    tuning = rounds(searches, options.extra_trials, options.finalists)
    print(options.description(len(distinct)), flush=True)
    if config.plan:
        first = next(tuning)
        overrides = [build_overrides(trial.search, trial.values, compose)[0] for trial in first]
        runs.launch(list(map(runs.job, first, overrides)))
        num_runs = options.num_remaining_runs(searches)
        print(f"then {num_runs} runs, depending on the results of these trials")
        if config.effect:
            plan = Plan.of([(base, run_dir(base), "") for _, base in composed])
            plan.print_seeds_for(config.effect, 1, "hydra.sweeper.seeds={}")
        return runs.returned
    for trials in tuning:
        runs.tune(trials)
    runs.finish(searches)
    return runs.returned


def list_combinations(parsed: Sequence[Override]) -> list[list[str]]:
    """Return the configurations of a command line: all combinations of its swept values."""
    choices: dict[str, list[str]] = {}
    for override in parsed:
        key = override.get_key_element()
        if not override.is_sweep_override():
            choices[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            choices[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            raise ValueError(
                f"{override.input_line} has no list of values.\n\n"
                f"hint: use {key}=A,B; define ranges for tuning in conf/search_space"
            )
    combinations = [list(overrides) for overrides in product(*choices.values())]
    if not combinations:
        raise ValueError(
            "the sweep has no runs.\n\nhint: a range or glob(...) on the command line is empty"
        )
    return combinations


def update_trials(rows: Mapping[Path, TrialRow], missing_status: TrialStatus) -> float:
    """Set the outcomes of trials from the records in their folders.

    Args:
        rows: trials by the folders of their runs.
        missing_status: the status of a trial without a record.

    Returns:
        Chance accuracy, 1 / number of classes; 0 without a record.
    """
    chance_accuracy = 0.0
    for folder, trial in rows.items():
        record = find_record(folder)
        trial.status = record.status if record else missing_status
        finished = record is not None and record.status == "finished"
        trial.val_accuracy = record.objective if record and finished else None
        if record and record.dataset.class_names:
            chance_accuracy = 1 / len(record.dataset.class_names)
    return chance_accuracy


def _print_cautions(studies: Iterable[Path]) -> None:
    from optlab.analysis.tuning import Tuning  # brings pandas

    for study in dict.fromkeys(studies):
        noted = Tuning.from_file(read_study_file(study))
        for caution in noted.cautions() if noted else ():
            print(f"warning: {caution}", flush=True)
