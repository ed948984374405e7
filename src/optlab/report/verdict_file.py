"""verdict.json: the outcome of a study for scripts. docs/verdict.md describes its format."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from optlab import __version__
from optlab.analysis.comparisons import Difference
from optlab.analysis.next_step import next_step
from optlab.analysis.study import Study
from optlab.analysis.summary import ConfigurationSummary, WorkloadSummary
from optlab.analysis.tables import COSTS
from optlab.analysis.verdict import make_verdict

FORMAT = 1  # raise it when a field changes its meaning or goes


def verdict_json(study: Study, summaries: Sequence[WorkloadSummary]) -> bytes:
    """Return the content of verdict.json. The same records give the same bytes."""
    content = {
        "format": FORMAT,
        "optlab": __version__,
        "study": study.name,
        "workloads": [
            _workload(summary, study.is_tuned(summary.workload)) for summary in summaries
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False).encode() + b"\n"


def _workload(summary: WorkloadSummary, is_tuned: bool) -> dict[str, Any]:
    verdict = make_verdict(summary, is_tuned=is_tuned)
    step = next_step(summary, is_tuned=is_tuned)
    workload = summary.workload
    return {
        "name": workload.name,
        "title": workload.title,
        "protocol_version": workload.runs[0].record.protocol_version,
        "is_tuned": is_tuned,
        "lead": verdict.lead,
        "remarks": list(verdict.remarks),
        "best": summary.best.label if summary.best else None,
        "rounds": _rounds(summary),
        "configurations": [_configuration(row) for row in summary.rows],
        "claims": [_claim(row, difference, summary) for row, difference in summary.compared()],
        "steps_claims": [
            {**asdict(claim), "is_significant": claim.is_significant}
            for claim in summary.steps_claims
        ],
        "unlike_clocks": summary.unlike_clocks or None,
        "next": asdict(step) if step else None,
    }


def _rounds(summary: WorkloadSummary) -> list[dict[str, Any]]:
    """The plan of an adaptive sweep; empty without one."""
    for row in summary.rows:
        if progress := row.configuration.progress:
            plan = zip(progress.rounds, progress.levels, strict=True)
            return [{"num_seeds": num_seeds, "level": level} for num_seeds, level in plan]
    return []


def _configuration(row: ConfigurationSummary) -> dict[str, Any]:
    validation, test = row.accuracy("validation"), row.accuracy("test")
    return {
        "label": row.label,
        "optimizer": row.configuration.optimizer,
        "rank": row.rank,
        "num_runs": len(row.configuration.runs),
        "num_finished": row.num_finished,
        "num_diverged": row.num_diverged,
        "num_failed": row.num_failed,
        "round": _round(row),
        "judged_weights": row.configuration.judged_weights,
        "score": row.score,
        "validation_accuracy": asdict(validation) if validation else None,
        "test_accuracy": asdict(test) if test else None,
        "costs": {
            **{name: row.mean_of_record(name) for name in COSTS},
            "num_reached_target": row.num_reached if row.reached else None,
            "epochs_to_target": _finite(row.epochs_to_target),
            "steps_to_target": _finite(row.steps_to_target),
            "time_to_target_s": _finite(row.time_to_target_s),
        },
    }


def _claim(
    row: ConfigurationSummary, difference: Difference, summary: WorkloadSummary
) -> dict[str, Any]:
    low, high = summary.interval_over_images(row)
    return {
        "configuration": row.label,
        "reference": summary.best.label if summary.best else None,
        "conclusion": difference.conclusion,
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "low_over_images": low,
        "high_over_images": high,
        "p_value": difference.p_value,
        "level": difference.level,
        "looks": list(summary.looks(row)),
        "num_seeds": difference.num_seeds,
        "detectable": difference.detectable,
        "seeds_needed": difference.seeds_needed,
    }


def _round(row: ConfigurationSummary) -> dict[str, Any] | None:
    progress = row.configuration.progress
    if progress is None:
        return None
    return {
        "number": progress.num_rounds,
        "num_seeds": progress.num_seeds,
        "level": progress.level,
        "status": progress.status,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
