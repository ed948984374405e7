"""The report's sections about the study as a whole: tuning, failures, environment, rules."""

from collections import Counter

import pandas as pd

from optlab.results.display import NOTHING, joined, percent, percent_estimate, points
from optlab.results.figures import LRSensitivity, PerformanceProfile
from optlab.results.page import (
    Block,
    Cell,
    Command,
    Items,
    ReportFolder,
    Section,
    Text,
    markdown_row,
    markdown_rule,
    table_block,
)
from optlab.results.palette import display_name, style_of
from optlab.results.published import published_rows, published_table
from optlab.results.rates import rates_of_tuning
from optlab.results.records import Run
from optlab.results.statistics import MIN_PAIRS
from optlab.results.study import Study
from optlab.results.summary import ProblemSummary
from optlab.results.tables import rates_table
from optlab.results.target import performance_profile
from optlab.results.tuning import Tuning


def study_sections(
    study: Study, summaries: list[ProblemSummary], folder: ReportFolder
) -> tuple[Section, ...]:
    sections = [
        _profile(summaries, folder),
        _tuning(study, folder),
        _published(study, folder),
        _failures(study, folder),
        _environment(summaries, folder),
        _command(study),
        _judged(study),
    ]
    return tuple(section for section in sections if section is not None)


def _profile(summaries: list[ProblemSummary], folder: ReportFolder) -> Section | None:
    versions = [[run.record["protocol_version"] for run in s.problem.runs] for s in summaries]
    newest = max((max(each) for each in versions), default=None)
    timed = [
        summary
        for summary, found in zip(summaries, versions, strict=True)
        if any(row.reached for row in summary.rows)
        and not summary.unlike_clocks
        and min(found) == newest
    ]
    if len(timed) < 2:
        return None
    times: dict[str, dict[str, float]] = {}
    for summary in timed:
        for row in summary.rows:
            by_problem = times.setdefault(row.group.optimizer, {})
            if row.time_to_target_s is not None:  # rows come by rank: the best setting stands
                by_problem.setdefault(summary.problem.name, row.time_to_target_s)
    everywhere = {name: found for name, found in times.items() if len(found) == len(timed)}
    if not everywhere:
        return None
    tau, shares = performance_profile(everywhere)
    ordered = dict(sorted(shares.items(), key=lambda item: (-float(item[1].mean()), item[0])))
    figure = PerformanceProfile(tau, ordered, len(timed)).plot()
    shown = folder.picture(
        "performance_profile", figure, "Share of problems within a multiple of the best time"
    )
    note = (
        "How often an optimizer (at its best setting by validation) reaches a problem's target "
        "within a multiple of the fastest one's training time."
    )
    absent = [display_name(name) for name in times if name not in everywhere]
    if absent:
        note += f" Without those that did not run all of them: {joined(absent)}."
    return Section("Performance profile", (shown, Text(note)))


def _tuning(study: Study, folder: ReportFolder) -> Section | None:
    tuning = study.tuning
    if tuning is None:
        return None
    blocks: list[Block] = []
    blocks.append(Text(_what_was_tuned(study, tuning)))
    found, knob, joined = rates_of_tuning(tuning)
    if found:
        folder.csv("lr_sensitivity", rates_table(found, knob))
        figure = LRSensitivity(found, knob, joined).plot()
        blocks.append(
            folder.picture("lr_sensitivity", figure, "Validation accuracy of the trials by rate")
        )
    winners = tuning.winners_rows()
    if winners:
        rows: list[list[str | Cell]] = [
            [
                Cell(row["label"], style_of(row["optimizer"])),
                row["settings"],
                percent(row["val_accuracy_of_trial"]),
                str(row["num_trials"]),
                str(row["num_diverged"]),
                row["at_edge_of_space"] or NOTHING,
            ]
            for row in winners
        ]
        columns = ("optimizer", "winner", "validation %", "trials", "diverged", "at the edge")
        file = folder.csv("tuning_winners", tuning.winners_table())
        blocks.append(table_block(columns, rows, left=(0, 1, 5), file=file))
    cautions = tuning.cautions()
    if cautions:
        blocks.append(Items(tuple(cautions)))
    return Section("Tuning", tuple(blocks))


def _what_was_tuned(study: Study, tuning: Tuning) -> str:
    numbers = Counter(tuning.label(row) for row in tuning.rows).values()
    trials = " to ".join(str(n) for n in sorted({min(numbers, default=0), max(numbers, default=0)}))
    tuning_seeds = ", ".join(map(str, tuning.tuning_seeds)) or "unknown"
    seeds = ", ".join(map(str, tuning.seeds)) or "none"
    text = (
        f"{trials} trials for each optimizer, on tuning seed {tuning_seeds}; each winner by "
        f"validation is run again on fresh seeds ({seeds}). The figures above are of "
    )
    if not (study.fresh_runs and tuning.knows_fresh_runs):
        return f"{text}all runs that are no trials."
    everywhere = len(study.fresh_runs) == len(study.counted_runs)
    text += f"these fresh runs alone{'' if everywhere else ' where a problem was tuned'}."
    outside = len(study.outside_tuning)
    others = f" Left out and listed below: {outside} other run{'s' * (outside != 1)}."
    return text + others * bool(outside)


def _published(study: Study, folder: ReportFolder) -> Section | None:
    rows = published_rows(study.meta, study.problems)
    if not rows:
        return None
    file = folder.csv("published", published_table(rows))
    cells = [
        [
            row.label,
            percent(row.published),
            percent_estimate(row.best),
            percent_estimate(row.last),
            str(row.best.n) if row.best else "not run",
            points(row.difference),
            row.note,
        ]
        for row in rows
    ]
    columns = _PUBLISHED_COLUMNS
    lines = [markdown_row(columns), markdown_rule(columns), *map(markdown_row, cells)]
    folder.write("published.md", ("\n".join(lines) + "\n").encode())
    published = (study.meta or {})["published"]
    note = (
        f"Published by {published.get('source')}; both are {published.get('metric')}. "
        "Difference is ours at the best-validation weights minus published, in percentage points."
    )
    return Section(
        "Beside the published figures",
        (table_block(columns, cells, left=(0, 6), file=file), Text(note)),
    )


_PUBLISHED_COLUMNS = (
    "setting",
    "published %",
    "ours %",
    "ours %, last weights",
    "runs",
    "difference",
    "note",
)


def _failures(study: Study, folder: ReportFolder) -> Section | None:
    unhappy = [run for run in study.counted_runs if not run.is_finished]
    left_out = [pair for problem in study.problems for pair in problem.left_out]
    rows: list[tuple[str, str, str]] = [
        (run.folder.name, run.status, _reason(run)) for run in unhappy
    ]
    rows += [(run.folder.name, "left out", reason) for run, reason in left_out]
    rows += [(path.name, "damaged", reason) for path, reason in study.damaged]
    rows += [(path.name, "unfinished", "it has no record.json yet") for path in study.unfinished]
    rows += [(run.folder.name, "curves", note) for run in study.runs for note in run.notes]
    if not rows:
        return None
    table = pd.DataFrame(rows, columns=["folder", "what", "reason"])
    blocks: list[Block] = [
        table_block(
            ("run", "what", "reason"),
            rows,
            left=(0, 1, 2),
            file=folder.csv("failures", table),
        )
    ]
    if unhappy:
        blocks.append(Text("Each of them alone, again:"))
        commands = [str(run.record.get("command") or "") for run in unhappy]
        blocks.append(Command("\n".join(dict.fromkeys(text for text in commands if text))))
    return Section("What did not finish or does not count", tuple(blocks))


def _reason(run: Run) -> str:
    reason = " ".join(str(run.record.get("reason") or "no reason recorded").split())
    steps = run.number("num_steps")
    return f"{reason} (after {steps:,.0f} steps)" if steps else reason


def _environment(summaries: list[ProblemSummary], folder: ReportFolder) -> Section:
    runs = [run for summary in summaries for run in summary.problem.runs]
    facts: dict[str, dict[str, int]] = {}

    def note(name: str, value: object) -> None:
        if value is not None:
            facts.setdefault(name, {}).setdefault(str(value), 0)
            facts[name][str(value)] += 1

    for run in runs:
        dataset, device = run.record["dataset"], run.record.get("device") or {}
        note("dataset", dataset.get("title") or dataset["name"])
        note("dataset checksum", dataset.get("checksum"))
        sizes = [dataset.get(f"num_{part}") for part in ("train", "val", "test")]
        if all(isinstance(size, int) for size in sizes):
            note("images: train / validation / test", " / ".join(f"{size:,}" for size in sizes))
        model = run.record["model"]
        if isinstance(model.get("num_parameters"), int):
            note("network", f"{model['name']}, {model['num_parameters']:,} parameters")
        note("protocol version", run.record["protocol_version"])
        note("device", device.get("name"))
        note("threads", device.get("num_threads"))
        for name, version in (run.record.get("versions") or {}).items():
            note(name, version)
        for name, fingerprint in (run.record.get("own_code") or {}).items():
            note(f"{name} (fingerprint)", fingerprint)
        note("git commit", run.record.get("git_commit"))
        note("trained as replicas", (run.record.get("replica") or {}).get("equality"))
    started = [str(run.record["started_at"]) for run in runs if run.record.get("started_at")]
    ended = [str(run.record["finished_at"]) for run in runs if run.record.get("finished_at")]
    rows = [
        (
            name,
            next(iter(values))
            if len(values) == 1
            else "; ".join(
                f"{value} ({number} run{'s' * (number != 1)})"
                for value, number in sorted(values.items())
            ),
        )
        for name, values in facts.items()
    ]
    if started and ended:
        rows.append(("made", f"{min(started)} to {max(ended)}"))
    file = folder.csv("environment", pd.DataFrame(rows, columns=["what", "value"]))
    return Section("Environment", (table_block(("what", "value"), rows, left=(0, 1), file=file),))


def _command(study: Study) -> Section:
    if study.commands:
        title = "The commands" if len(study.commands) > 1 else "The command"
        return Section(title, (Command("\n".join(study.commands)),))
    commands = sorted({str(run.record.get("command")) for run in study.counted_runs})
    shown = commands[:12]
    more = f" (12 of {len(commands)}; all are in runs.csv)" if len(commands) > 12 else ""
    text = Text(f"No study.json names the study's command; its runs were made by{more}:")
    return Section("The command", (text, Command("\n".join(shown))))


def _judged(study: Study) -> Section:
    folds = any(run.fold or _num_folds(run) > 1 for run in study.counted_runs)
    items = [
        "Settings are chosen and ranked on validation images, taken out of the official train "
        "part. Test images are read once a run, at its end, and only reported.",
        "One seed gives every optimizer the same initial weights and the same batches, so runs "
        "are compared pair by pair.",
        "± and bands: 95 % interval of the mean over runs (Student's t). Differences: bootstrap "
        f"of the mean paired difference, widened for few pairs; below {MIN_PAIRS} pairs nothing is "
        "called separable, and one run has no interval.",
        "A diverged run is counted, never dropped: it misses the target, and for the rank it "
        "counts as guessing. A run that failed for another reason is counted as failed.",
        "The clock of all training times stands still during evaluation, logging and compiling.",
    ]
    if folds:
        items.append(
            "Folds share most of their training images, so an interval over folds is somewhat too "
            "narrow."
        )
    items.append("Results compare within one protocol version only. More: docs/protocol.md.")
    return Section("How it was judged", (Items(tuple(items)),))


def _num_folds(run: Run) -> int:
    value = (run.record["config"].get("data") or {}).get("num_folds")
    return value if isinstance(value, int) else 1
