"""How often the verdict errs: made studies, judged by the functions that judge real ones.

python scripts/calibrate.py                    10,000 studies a line, some minutes each
python scripts/calibrate.py --studies 1000     quicker, for a look

Every study has made records of configurations that share their seeds. Accuracies are drawn,
records are sorted into workloads, ranked by validation and compared on test as in a report. The
first table has studies of five configurations; the second one studies of two equal ones, of which
one has a noisier validation curve. In the third, both seeds and test images of two equal ones are
drawn. In the fourth, five optimizers with equal optima are tuned first by the rule of the fair
sweeper, once or for each seed. In the fifth, an adaptive sweep adds seeds in rounds. In the
sixth, five equals are read again and again while seeds are added, until something looks different.
In the last one, five configurations reach a target after drawn numbers of steps.
docs/protocol.md shows the tables of 10,000 studies.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from optlab.analysis.adaptive import decide
from optlab.analysis.comparisons import compare, compare_all
from optlab.analysis.images import MIN_SEEDS_FOR_IMAGES, over_images
from optlab.analysis.records import Run
from optlab.analysis.rounds import Progress, round_levels
from optlab.analysis.study import Study
from optlab.analysis.summary import WorkloadSummary, summarize
from optlab.analysis.target_order import Attempt, StepsClaim, compare_steps
from optlab.analysis.workloads import Workload, group_runs
from optlab.runs.record import (
    DatasetFacts,
    EpochMetrics,
    Evaluation,
    Metrics,
    ModelFacts,
    OptimizerFacts,
    RunRecord,
    Validation,
)
from optlab.runs.study_file import StudyFile, TrialRow, TuningRows
from optlab.studies.search import Search, rounds
from optlab.studies.search_space import Hyperparameter
from optlab.studies.searches import FairOptions

NUM_CONFIGURATIONS = 5
NAMES = [str(index) for index in range(NUM_CONFIGURATIONS)]
LEVEL, DEVIATION = 0.97, 0.002  # accuracy, and its standard deviation over seeds
ONE_IMAGE = 1 / 360  # the step of accuracy on the embedded digits, over one deviation

NUM_EPOCHS = 20  # of a validation curve
NOISE_RATIOS = (1.5, 3.0)  # noise from epoch to epoch of one of two equals, over the other's

RATE = Hyperparameter("lr", "log", (10**-1.5, 10**1.5))  # what a tuning tries
BEST_RATES = (
    -3 / 16,
    3 / 16,
)  # log10; the default is 0, its neighbors in the grid ±3/8
SWEEP: dict[str, Any] = {  # conf/hydra/sweeper/fair.yaml
    **{"trials": 9, "extra_trials": 2, "finalists": 3, "finalist_seeds": 2},
    **{"tuning_seed": 0, "space": "auto", "schedule": "full"},
}
CURVATURE = 0.014  # accuracy lost a squared decade off the best rate, as in docs/mnist_fair
TUNING_DEVIATION = 0.001  # of accuracy over seeds, there

ROUNDS = (5, 10, 20)  # of an adaptive sweep
LOOKS = (5, 10, 15, 20)  # seeds at which a study is read until it makes a claim
STEPS, EVERY = 400, 50  # steps to it in the median, and between two validations
SEED_NOISE, RUN_NOISE = 0.15, 0.25  # of the logarithm of the steps
SLOWER = 1.65  # times as many steps of three configurations of five, where they differ

NUM_IMAGES = 1000  # of a test set that is drawn

Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]  # mean 0, deviation 1


@dataclass(frozen=True)
class Line:
    """One line of the table: how accuracies are drawn, and what is allowed."""

    title: str
    noise: Noise
    correlation: float = 0.0  # of a run's validation and test noise
    shifts: tuple[float, ...] = (0.0,) * NUM_CONFIGURATIONS  # in deviations
    scales: tuple[float, ...] = (1.0,) * NUM_CONFIGURATIONS  # of the noise
    deviation: float = DEVIATION
    step: float | None = None  # accuracies are multiples of it


@dataclass(frozen=True)
class Errors:
    """Shares of studies, or of losers for `power`, or of runs."""

    false_claims: float  # at least one difference claimed that is none, or of the wrong sign
    false_assertions: float = math.nan  # the same, if every pair of configurations is asserted
    coverage: float = math.nan  # all intervals of the study hold the truth
    power: float = math.nan  # losers that are called lower
    runs: float = 1.0  # that were needed, of those that every seed of every configuration takes


@dataclass(frozen=True)
class Claims:
    """What one made study claims."""

    any_is_false: bool
    all_inside: bool  # the truth is in every interval
    num_losers: int
    num_found: int  # losers that are called lower


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 1 - rng.exponential(size=shape)


def heavy_tailed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_t(3, shape) / 3**0.5


LINES = [
    *(
        Line(f"five equal, {noise.__name__}, correlation {correlation:g}", noise, correlation)
        for noise in (normal, skewed, heavy_tailed)
        for correlation in (0.0, 0.3)
    ),
    *(
        Line(
            f"five equal, whole images of 360, correlation {correlation:g}",
            normal,
            correlation,
            deviation=ONE_IMAGE,
            step=ONE_IMAGE,
        )
        for correlation in (0.0, 0.3)
    ),
    Line("five equal, normal, correlation 0.6", normal, 0.6),
    Line("one three times as noisy", normal, scales=(3.0, 1.0, 1.0, 1.0, 1.0)),
    Line("two tied, three lower by two deviations", normal, shifts=(0.0, 0.0, -2.0, -2.0, -2.0)),
]


# Test accuracies of the earlier study in docs/mnist_fair, below the best one, in deviations of 0.1
# points: sgd, rmsprop, adagrad, adamw, adam
LAST_WEIGHTS = (0.0, -2.6, -0.7, -4.4, -3.9)
BEST_EPOCHS = (0.0, -0.8, -0.7, -2.4, -2.8)
IN_ROUNDS = [
    Line(f"{title}, correlation {correlation:g}", normal, correlation, shifts, deviation=0.001)
    for title, shifts in (
        ("five equal", (0.0,) * NUM_CONFIGURATIONS),
        ("as in docs/mnist_fair, last weights", LAST_WEIGHTS),
        ("as in docs/mnist_fair, best epochs", BEST_EPOCHS),
    )
    for correlation in (0.0, 0.3)
]


def judge(line: Line, num_seeds: int, num_studies: int, seed: int = 0) -> Errors:
    """Return how often the verdict on made studies is wrong."""
    rng = np.random.default_rng([seed, num_seeds])
    false_claims = false_assertions = covered = found = losers = 0
    for _ in range(num_studies):
        summary = summarize_study(*draw(line, rng, num_seeds))
        claims = count_claims(line, summary)
        shifts = [line.shifts[int(row.label)] for row in summary.rows]
        pairs = compare_all([row.configuration.accuracies("test") for row in summary.rows])
        is_false_pair = any(
            pair.is_significant and np.sign(pair.mean or 0.0) != np.sign(shifts[i] - shifts[j])
            for (i, j), pair in pairs.items()
            if i > 0  # a pair with the best one is decided by the claim
        )
        false_claims += claims.any_is_false
        false_assertions += claims.any_is_false or is_false_pair
        covered += claims.all_inside
        found += claims.num_found
        losers += claims.num_losers
    power = found / losers if losers else float("nan")
    return Errors(
        false_claims / num_studies, false_assertions / num_studies, covered / num_studies, power
    )


def draw(line: Line, rng: np.random.Generator, num_seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw validation and test accuracies, each (configurations, seeds)."""
    shape = (NUM_CONFIGURATIONS, num_seeds)
    test = line.noise(rng, shape)
    fresh = line.noise(rng, shape)
    validation = line.correlation * test + (1 - line.correlation**2) ** 0.5 * fresh
    return _accuracies(line, validation), _accuracies(line, test)


def count_claims(line: Line, summary: WorkloadSummary) -> Claims:
    """Hold the claims of a study against the truth."""
    assert summary.best is not None
    best = line.shifts[int(summary.best.label)]
    is_false, all_inside, losers, found = False, True, 0, 0
    for row, difference in summary.compared():
        truth = (line.shifts[int(row.label)] - best) * line.deviation
        sign = {"lower": -1, "higher": 1}.get(difference.conclusion)
        is_false |= sign is not None and sign != np.sign(truth)
        assert difference.low is not None and difference.high is not None
        all_inside &= difference.low <= truth <= difference.high
        losers += truth < 0
        found += truth < 0 and sign == -1
    return Claims(is_false, all_inside, losers, found)


def _accuracies(line: Line, noise: np.ndarray) -> np.ndarray:
    """(configurations, seeds) accuracies from noise of mean 0 and deviation 1."""
    shifts, scales = (np.array(each)[:, None] for each in (line.shifts, line.scales))
    values = LEVEL + line.deviation * (shifts + scales * noise)
    return values if line.step is None else np.round(values / line.step) * line.step


def noisier_first(ratio: float, num_seeds: int, num_studies: int) -> tuple[float, float]:
    """Return how often the noisier of two equals is ranked first: by last weights, by best epoch.

    Args:
        ratio: of the deviations of the two validation curves from epoch to epoch.
        num_seeds: of a study.
        num_studies: that are made.
    """
    rng = np.random.default_rng([int(100 * ratio), num_seeds])
    scales = DEVIATION * np.array([ratio, 1.0])[:, None, None]
    by_last = by_best = 0
    for _ in range(num_studies):
        curves = LEVEL + scales * rng.standard_normal((2, num_seeds, NUM_EPOCHS))
        summary = summarize_study(curves[:, :, -1], curves[:, :, -1], curves.max(axis=2))
        by_last += summary.rows[0].label == "0"
        by_best += (summary.order_by_best_epoch or summary.rows)[0].label == "0"
    return by_last / num_studies, by_best / num_studies


def coverage_over_images(num_seeds: int, num_studies: int) -> tuple[float, float]:
    """Return how often the interval over seeds, and that over seeds and images, holds the truth.

    Two equal configurations answer `NUM_IMAGES` images, drawn again for each study. An image has a
    chance of being recognized, near 0 or 1 for most; one in five has another one under the second
    configuration. The truth is a difference of 0 over all images that could be drawn.
    """
    rng = np.random.default_rng(num_seeds)
    over_seeds = over_both = 0
    for _ in range(num_studies):
        first, fresh = rng.beta(0.3, 0.02, (2, NUM_IMAGES))
        chances = np.stack([first, np.where(rng.random(NUM_IMAGES) < 0.2, fresh, first)])
        seeds = DEVIATION * rng.standard_normal((2, num_seeds, 1))
        answers = rng.random((2, num_seeds, NUM_IMAGES)) < chances[:, None] + seeds
        ours, reference = (dict(enumerate(each.astype(float))) for each in answers)
        tables = [
            {(seed, 0): each.mean() for seed, each in one.items()} for one in (reference, ours)
        ]
        (difference,) = compare(tables[0], tables[1:])
        interval = over_images(difference, ours, reference)
        assert difference.low is not None and difference.high is not None and interval is not None
        over_seeds += difference.low <= 0 <= difference.high
        over_both += interval[0] <= 0 <= interval[1]
    return over_seeds / num_studies, over_both / num_studies


def claims_after_tuning(
    num_seeds: int, num_studies: int, tune: Literal["once", "each_seed"]
) -> float:
    """Return the share of studies that call equally good optimizers different after a fair sweep.

    The sweep's own rule chooses among made trials, and the report's functions judge what it would
    note. Each optimizer has its best learning rate near the one in its file.

    Args:
        num_seeds: fresh seeds of a study.
        num_studies: that are made.
        tune: as `hydra.sweeper.tune`.
    """
    rng = np.random.default_rng([num_seeds, tune == "each_seed"])
    options = FairOptions(**SWEEP, seeds=num_seeds, tune=tune)
    claims = 0
    for _ in range(num_studies):
        best = dict(zip(NAMES, rng.uniform(*BEST_RATES, NUM_CONFIGURATIONS), strict=True))
        summary = summarize(*_tuned_study(rng, options, best).workloads)
        claims += any(difference.is_significant for _, difference in summary.compared())
    return claims / num_studies


def _tuned_study(rng: np.random.Generator, options: FairOptions, best: dict[str, float]) -> Study:
    """A study after a fair sweep; `best` has log10 of each optimizer's best learning rate."""

    def accuracies(names: Sequence[str], rates: Sequence[float], num_splits: int) -> np.ndarray:
        off = np.log10(rates) - [best[name] for name in names]
        noise = rng.standard_normal((num_splits, len(names)))
        return np.asarray(LEVEL - CURVATURE * off**2 + TUNING_DEVIATION * noise)

    untuned = [
        Search(name, name, [], [RATE], {"lr": 1.0}, (), (), rungs=options.rungs(NUM_EPOCHS))
        for name in NAMES
    ]
    searches = [search for one in untuned for search in options.list_searches(one)]
    for trials in rounds(searches, options.extra_trials, options.finalists):
        names = [trial.search.optimizer for trial in trials]
        (found,) = accuracies(names, [trial.values["lr"] for trial in trials], 1)
        for trial, accuracy in zip(trials, found.tolist(), strict=True):
            row = TrialRow(
                trial.search.optimizer,
                trial.search.configuration,
                f"{trial.search.optimizer}-{trial.values['lr']}-{trial.seed}",
                "finished",
                tuning_seed=trial.seed,
                for_seed=trial.search.for_seed,
                params=trial.values,
                val_accuracy=accuracy,
            )
            trial.search.trials.append(row)
    winners = [winner for search in searches if (winner := search.winner())]
    for winner in winners:
        winner.runs = [f"{winner.hash}-fresh{seed}" for seed in winner.seeds]
    fresh = [
        (winner.optimizer, winner.params["lr"], seed, run)
        for winner in winners
        for seed, run in zip(winner.seeds, winner.runs, strict=True)
    ]
    optimizers, rates, seeds, hashes = zip(*fresh, strict=True)
    found = accuracies(optimizers, rates, 2)
    runs = [
        _run(name, seed, validation, test, lr=lr, run_hash=run_hash)
        for name, lr, seed, run_hash, validation, test in zip(
            optimizers, rates, seeds, hashes, *found.tolist(), strict=True
        )
    ]
    rows = [row for search in searches for row in search.trials]
    return Study(Path("made"), tuple(runs), file=StudyFile(tuning=TuningRows(rows, winners)))


def in_rounds(line: Line, rounds: Sequence[int], num_studies: int) -> Errors:
    """Return how often an adaptive sweep errs, what it finds, and how many runs it takes.

    Args:
        line: how accuracies are drawn.
        rounds: seeds of a configuration by the end of each round; one round is a fixed study.
        num_studies: that are made.
    """
    rng = np.random.default_rng(rounds[-1])  # the same studies, however many rounds
    plan = Progress(tuple(rounds), tuple(round_levels(len(rounds))), num_rounds=1)
    false_claims = found = losers = num_runs = 0
    for _ in range(num_studies):
        whole = made_workload(*draw(line, rng, rounds[-1]))
        progress = {one.label: plan for one in whole.configurations}
        for number in range(1, len(rounds)):
            decision = decide(_after_round(whole, progress))
            for one, status in decision.stopped.items():
                progress[one.label] = replace(plan, num_rounds=number, status=status)
            for one in decision.continuing:
                progress[one.label] = replace(plan, num_rounds=number + 1)
            if not decision.continuing:
                break
        claims = count_claims(line, summarize(_after_round(whole, progress)))
        false_claims += claims.any_is_false
        found += claims.num_found
        losers += claims.num_losers
        num_runs += sum(each.num_seeds for each in progress.values())
    most = NUM_CONFIGURATIONS * rounds[-1] * num_studies
    power = found / losers if losers else math.nan
    return Errors(false_claims / num_studies, power=power, runs=num_runs / most)


def _after_round(whole: Workload, progress: Mapping[str, Progress]) -> Workload:
    """The runs of a workload that its configurations have had so far."""
    configurations = (
        replace(one, runs=one.runs[: progress[one.label].num_seeds], progress=progress[one.label])
        for one in whole.configurations
    )
    return replace(whole, configurations=tuple(configurations))


def looks_by_hand(num_studies: int, *, counted: bool) -> float:
    """Return the share of studies of five equals that make a claim at one of `LOOKS`.

    Args:
        num_studies: that are made.
        counted: whether the looks are counted, as study.json does.
    """
    rng = np.random.default_rng(LOOKS[-1])
    false_claims = 0
    for _ in range(num_studies):
        whole = made_workload(*draw(LINES[0], rng, LOOKS[-1]))
        for number, num_seeds in enumerate(LOOKS):
            earlier = frozenset(LOOKS[:number] if counted else ())
            configurations = (
                replace(one, runs=one.runs[:num_seeds], looks=earlier)
                for one in whole.configurations
            )
            summary = summarize(replace(whole, configurations=tuple(configurations)))
            if any(difference.is_significant for _, difference in summary.compared()):
                false_claims += 1
                break
    return false_claims / num_studies


def claims_on_steps(num_seeds: int, num_studies: int, last_step: float) -> tuple[float, float]:
    """Return how often equals are separated by steps to the target, and differing pairs are.

    Args:
        last_step: where a run ends; infinite lets every run reach the target.
    """
    rng = np.random.default_rng(num_seeds)
    false_claims, found = 0, 0.0
    for _ in range(num_studies):
        claims = _claims_of(rng, num_seeds, last_step, np.zeros(NUM_CONFIGURATIONS))
        false_claims += any(claim.is_significant for claim in claims)
        slowness = np.log([1, 1, SLOWER, SLOWER, SLOWER])
        claims = _claims_of(rng, num_seeds, last_step, slowness)
        pairs = [(one.earlier, one.later) for one in claims if one.is_significant]
        found += sum(earlier in "01" and later in "234" for earlier, later in pairs) / 6
    return false_claims / num_studies, found / num_studies


def _claims_of(
    rng: np.random.Generator, num_seeds: int, last_step: float, slowness: np.ndarray
) -> list[StepsClaim]:
    logs = np.log(STEPS) + SEED_NOISE * rng.standard_normal(num_seeds) + slowness[:, None]
    logs = logs + RUN_NOISE * rng.standard_normal(logs.shape)
    attempts: dict[str, dict[int, Attempt]] = {name: {} for name in NAMES}
    for (index, seed), step in np.ndenumerate(np.ceil(np.exp(logs) / EVERY) * EVERY):
        log_steps = float(np.log(step)) if step <= last_step else np.inf
        attempts[NAMES[index]][seed] = Attempt(log_steps, horizon=float(np.log(last_step)))
    return compare_steps(attempts)


def summarize_study(
    validation: np.ndarray, test: np.ndarray, best: np.ndarray | None = None
) -> WorkloadSummary:
    """Judge made records; the arguments are those of `made_workload`."""
    return summarize(made_workload(validation, test, best))


def made_workload(
    validation: np.ndarray, test: np.ndarray, best: np.ndarray | None = None
) -> Workload:
    """Make records and sort them into a workload; configurations are called by their index.

    Args:
        validation: (configurations, seeds) validation accuracies of the last weights.
        test: the same shape, test accuracies of these weights.
        best: the same shape, validation accuracies of the best epochs; None for the last ones.
    """
    best = validation if best is None else best
    runs = [
        _run(str(index), seed, validation[index, seed], test[index, seed], best[index, seed])
        for index in range(len(test))
        for seed in range(test.shape[1])
    ]
    (workload,) = group_runs(runs)
    return workload


def _run(
    name: str,
    seed: int,
    validation: float,
    test: float,
    best: float | None = None,
    lr: float = 1.0,
    run_hash: str = "",
) -> Run:
    best = validation if best is None else best
    record = RunRecord(
        protocol_version=1,
        status="finished",
        study="made",
        run_name=f"{name}-seed{seed}",
        hash=run_hash,
        seed=seed,
        config={"seed": seed, "optimizer": {"name": name, "lr": lr}},
        dataset=DatasetFacts(name="made", class_names=list("0123456789")),
        model=ModelFacts(name="made"),
        optimizer=OptimizerFacts(name=name, lr=lr),
        validation=Validation(
            best=EpochMetrics(accuracy=best), last=EpochMetrics(accuracy=validation)
        ),
        test=Evaluation(best=Metrics(accuracy=test), last=Metrics(accuracy=test)),
    )
    return Run(Path(record.run_name), record)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=10_000, help="of each line (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 10, 20], help="of a study")
    options = parser.parse_args()
    columns = ("a false claim", "a false assertion", "all intervals right", "losers found")
    table = Table("made studies", "seeds", *columns)
    for line in LINES:
        for num_seeds in track(options.seeds, line.title, transient=True):
            errors = judge(line, num_seeds, options.studies)
            power = "" if np.isnan(errors.power) else f"{errors.power:.2f}"
            shares = map(_percent, (errors.false_claims, errors.false_assertions, errors.coverage))
            table.add_row(line.title, str(num_seeds), *shares, power)
    Console().print(table)
    table = Table("noisier of two equals", "seeds", "first by last weights", "first by best epoch")
    for ratio in NOISE_RATIOS:
        for num_seeds in track(options.seeds, f"{ratio} times as noisy", transient=True):
            shares = map(_percent, noisier_first(ratio, num_seeds, options.studies))
            table.add_row(f"{ratio:g} times as noisy", str(num_seeds), *shares)
    Console().print(table)
    table = Table("seeds", "95 % interval over seeds is right", "over seeds and images")
    for num_seeds in (each for each in options.seeds if each >= MIN_SEEDS_FOR_IMAGES):
        table.add_row(
            str(num_seeds), *map(_percent, coverage_over_images(num_seeds, options.studies))
        )
    Console().print(table)
    table = Table("seeds", "a false claim, tuned once", "tuned for each seed")
    for num_seeds in track(options.seeds, "tuned", transient=True):
        once = claims_after_tuning(num_seeds, options.studies, "once")
        each = claims_after_tuning(num_seeds, options.studies, "each_seed")
        table.add_row(str(num_seeds), _percent(once), _percent(each))
    Console().print(table)
    columns = ("runs used", "a false claim", "losers found", "losers found by 20 seeds each")
    table = Table("seeds in rounds", *columns)
    for line in track(IN_ROUNDS, "in rounds", transient=True):
        errors, fixed = (
            in_rounds(line, rounds, options.studies) for rounds in (ROUNDS, ROUNDS[-1:])
        )
        powers = ("" if math.isnan(one.power) else f"{one.power:.2f}" for one in (errors, fixed))
        table.add_row(line.title, _percent(errors.runs), _percent(errors.false_claims), *powers)
    Console().print(table)
    looks = ", ".join(map(str, LOOKS))
    table = Table(f"five equal, read at {looks} seeds until a claim appears", "a false claim")
    for counted in track((False, True), "looks", transient=True):
        title = "looks are counted" if counted else "looks are not counted"
        table.add_row(title, _percent(looks_by_hand(options.studies, counted=counted)))
    Console().print(table)
    table = Table("steps to a target", "seeds", "a false claim", f"{SLOWER} times found")
    for title, last_step in (("all reach it", np.inf), ("runs end at 500 steps", 500)):
        for num_seeds in track(options.seeds, title, transient=True):
            shares = map(_percent, claims_on_steps(num_seeds, options.studies, last_step))
            table.add_row(title, str(num_seeds), *shares)
    Console().print(table)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
