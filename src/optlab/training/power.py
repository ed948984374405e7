"""Estimate how many seeds a study needs to detect a difference: `plan=true effect=0.2`.

`analysis.comparisons` computes the number for as many configurations as the command has. The
standard deviation between seeds is estimated from finished runs, if there are any. Pairing by seed
is ignored: the two runs of a pair are assumed independent, which in real studies they nearly are.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Any

from omegaconf import DictConfig

from optlab import PROTOCOL_VERSION
from optlab.analysis.comparisons import MAX_SEEDS, POWER, prior_df, seeds_to_find
from optlab.runs.record import RunRecord
from optlab.training.run_id import identity

ASSUMED_DEVIATION = 0.002  # of test accuracy over seeds, if there are no finished runs


@dataclass(frozen=True)
class SeedRequirement:
    """The seeds that the configurations of one workload need.

    Attributes:
        workload: data and network.
        num_configurations: number of configurations to compare.
        effect: the difference to detect, in percentage points of accuracy.
        deviation: standard deviation of test accuracy over seeds, a fraction.
        num_measured: finished runs from which it was estimated; 0 if it is assumed.
        num_seeds: seeds per configuration; None if more than `MAX_SEEDS` are needed.
        num_runs: runs of all configurations together.
        num_done: those of them that are finished.
    """

    workload: str
    num_configurations: int
    effect: float
    deviation: float
    num_measured: int
    num_seeds: int | None
    num_runs: int
    num_done: int

    @property
    def num_to_train(self) -> int:
        return self.num_runs - self.num_done

    def text(self, seeds_option: str, cost: str) -> str:
        """Return the answer in sentences.

        Args:
            seeds_option: the option that sets the seeds, with `{}` for their number.
            cost: how long the runs take that are still to train.
        """
        wanted = f"To find a difference of {self.effect:g} points on {self.workload}"
        if self.num_configurations < 2:
            return f"{wanted}, compare two configurations or more, such as optimizer=sgd,adam."
        noise = f"{100 * self.deviation:.2f} points between seeds"
        if self.num_measured:
            noise = f"a standard deviation of {noise}, from {self.num_measured} finished runs"
        else:
            noise = (
                f"an assumed standard deviation of {noise}, to be estimated once a configuration "
                "has two finished seeds"
            )
        if self.num_seeds is None:
            return f"{wanted}, more than {MAX_SEEDS:,} seeds are needed (with {noise})."
        return (
            f"{wanted} in {100 * POWER:.0f} % of studies, {self.num_configurations} configurations "
            f"need {self.num_seeds} seeds each (with {noise}): "
            f"{seeds_option.format(self.num_seeds)}. "
            f"{self.num_runs} runs, {self.num_done} of them done; time: {cost}."
        )


def required_seeds(
    workload: str, configs: Sequence[DictConfig], finished: Sequence[RunRecord], effect: float
) -> SeedRequirement:
    """Return the seeds that a comparison of these runs' configurations needs.

    Args:
        workload: name of the workload.
        configs: configs of the command's runs on this workload.
        finished: records of finished runs on it, of any configuration.
        effect: difference to detect, in percentage points of accuracy, above 0.
    """
    planned = {configuration_key(identity(config)) for config in configs}
    folds = {config.data.get("fold") for config in configs}
    accuracies = _by_configuration(finished)
    repeated = {key: seeds for key, seeds in accuracies.items() if len(seeds) > 1}
    measured = {key: repeated[key] for key in planned & repeated.keys()} or repeated
    num_pairs = math.comb(len(planned), 2)
    deviation = _pooled_deviation(measured.values())
    if not deviation:
        measured, deviation = {}, ASSUMED_DEVIATION
    num_seeds = None
    if len(planned) > 1:
        num_seeds = seeds_to_find(
            effect / 100, 2**0.5 * deviation, prior_df(num_pairs) - 1, len(planned) - 1
        )
    in_study = [record for record in finished if record.study == configs[0].study]
    done = {
        key: min(len(each), num_seeds or 0) for key, each in _by_configuration(in_study).items()
    }
    return SeedRequirement(
        workload=workload,
        num_configurations=len(planned),
        effect=effect,
        deviation=deviation,
        num_measured=sum(map(len, measured.values())),
        num_seeds=num_seeds,
        num_runs=len(planned) * len(folds) * (num_seeds or 0),
        num_done=len(folds) * sum(done.get(key, 0) for key in planned),
    )


def _by_configuration(finished: Iterable[RunRecord]) -> dict[str, dict[int, float]]:
    """Test accuracy by configuration and seed, the mean over folds."""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in finished:
        accuracy = record.metric("test")
        if record.protocol_version == PROTOCOL_VERSION and accuracy is not None:
            found[configuration_key(record.config)][record.seed].append(accuracy)
    return {
        key: {seed: fmean(values) for seed, values in seeds.items()} for key, seeds in found.items()
    }


def _pooled_deviation(configurations: Iterable[dict[int, float]]) -> float:
    """The standard deviation of one run; 0 if nothing was measured, or all seeds agree."""
    sums, df = 0.0, 0
    for seeds in configurations:
        sums += (len(seeds) - 1) * variance(seeds.values())
        df += len(seeds) - 1
    return math.sqrt(sums / df) if df else 0.0


def configuration_key(config: dict[str, Any]) -> str:
    """Return a key that is equal for runs that differ only in seed and fold.

    Args:
        config: a run's identity, as in its record.
    """
    config = {key: value for key, value in config.items() if key != "seed"}
    config["data"] = {key: value for key, value in config["data"].items() if key != "fold"}
    return json.dumps(config, sort_keys=True, default=str)
