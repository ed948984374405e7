"""Type hundreds of wrong command lines, and some right ones; list those that are answered badly.

python scripts/fuzz_command_line.py                       about 700 command lines in some minutes
python scripts/fuzz_command_line.py --count 60 --seed 1   some of them, drawn with another seed
python scripts/fuzz_command_line.py --count 0             everything that can be generated

They are generated from the files of conf/. What a value may be is read from the comment of its
option ("in [0, 1)", "> 0", ">= 1"), or from RULES below; fuzz_command_line.txt has combinations. A
wrong command line has to be refused with a message that names the option, and the right name for a
misspelling. A right one has to train three steps on the embedded digits. All of them go through the
`cli` of train.py, in this process. The exit code is 1 where an answer is bad.
"""

import argparse
import contextlib
import io
import json
import math
import random
import re
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from optlab.runs.folder import recorded_runs
from optlab.runs.record import find_record
from optlab.training import cli

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
BASE = {
    "data": "digits",
    "trainer": "cpu",
    "logger": "none",
    "callbacks": "none",
    "trainer.max_epochs": "2",
    "trainer.max_steps": "3",
    "+trainer.limit_train_batches": "2",
    "+trainer.limit_val_batches": "1",
    "+trainer.limit_test_batches": "1",
}
RUN = "RUN"  # stands for the folder of a finished run, which some options want
CONTEXTS = {"model=finetuned": [f"model.weights={RUN}"]}  # what has to be typed with a choice
# Not tried: needs a download, a further package, or includes other choices only
SKIPPED = (
    *("data/auto", "data/mnist", "data/fashion_mnist", "data/cifar10", "data/image_folder"),
    *("trainer/auto", "trainer/gpu", "trainer/ddp", "trainer/smoke"),
    *("logger/wandb", "logger/mlflow", "logger/many", "logger/none"),
    *("callbacks/figures", "callbacks/none", "callbacks/plateau_and_stopping"),
)
GROUPS = ("data", "model", "module", "optimizer", "scheduler", "callbacks", "trainer", "logger")
LABELS = ("model.name", "optimizer.name", "scheduler.name")  # any text will do
COSTLY = ("compile=true",)  # right, and takes half a minute

Rule = Callable[[Any], bool | None]  # whether a value is right; None: either, if it is explained


def whole(low: int, high: int = 2**63 - 1) -> Rule:
    return lambda v: type(v) is int and low <= v <= high


def number(low: float = -math.inf, high: float = math.inf, open_at: Sequence[float] = ()) -> Rule:
    low, high = max(low, -1.0e300), min(high, 1.0e300)
    return lambda v: (
        (type(v) is float or whole(-(2**63))(v)) and low <= v <= high and v not in open_at
    )


def one_of(*allowed: Any) -> Rule:
    return lambda v: any(type(v) is type(value) and v == value for value in allowed)


def either(*rules: Rule) -> Rule:
    def rule(value: Any) -> bool | None:
        found = [rule(value) for rule in rules]
        return True if True in found else None if None in found else False

    return rule


def each(rule: Rule, length: int | None = None) -> Rule:
    return lambda v: (
        isinstance(v, list)
        and (length is None or len(v) == length)
        and all(rule(element) for element in v)
    )


def text(value: Any) -> bool | None:
    return None if isinstance(value, bool | int | float) else isinstance(value, str)


NULL, SWITCH = one_of(None), one_of(True, False)
# What no comment says in the form of a range. `choice:option` is about one choice of a group only.
RULES: dict[str, Rule] = {
    "seed": whole(0),
    "num_replicas": one_of(1),
    "lr_multiplier": number(0, open_at=[0]),
    "num_threads": whole(1, 1024),
    "effect": NULL,  # plan=true only
    "cuda_graphs": one_of(False),  # no CUDA device
    "ckpt_path": NULL,
    "study": text,
    "run_name": text,
    "title": either(text, NULL),
    "outputs": text,
    "published": lambda v: None if isinstance(v, dict) else v is None,
    "data.name": one_of("digits"),
    "data.root": either(text, NULL),
    "data.seed": whole(0),
    "data.split_seed": whole(0, 2**32 - 1),
    "data.num_folds": one_of(0),
    "data.fold": one_of(0),
    "data.batch_size": whole(1),
    "data.eval_batch_size": whole(1),
    "data.augment": NULL,
    "data.augment.crop_padding": whole(0, 27),
    "data.augment.translation_pixels": number(0, 27.9),
    "data.augment.cutout_pixels": whole(0, 27),
    "model.hidden_sizes": each(whole(1)),
    "model.filters": each(whole(1)),
    "model.layers": whole(1),
    "model.kernel_size": one_of(1, 3, 5),
    "model.widths": each(whole(1), 4),
    "mlp:model.dropout": number(0, 1, open_at=[1]),
    "cnn:model.dropout": either(number(0, 1, open_at=[1]), each(number(0, 0.9), 1)),
    "model.weights": one_of(RUN),
    "model.resize_to": NULL,  # fit=pad only enlarges
    "model.unfreeze_epoch": either(NULL, whole(1)),
    "optimizer.fused": either(NULL, SWITCH),
    "optimizer.betas": each(number(0, 1, open_at=[1]), 2),
    "schedule_free:optimizer.betas": each(number(0, 1, open_at=[0, 1]), 2),
    **{  # of the base, unless it is given
        f"{wrapper}:optimizer.lr": either(NULL, number(0, open_at=[0]))
        for wrapper in ("asam", "lookahead", "sam")
    },
    "optimizer.etas": one_of([0.5, 1.2]),
    "optimizer.step_sizes": one_of([1.0e-6, 0.1]),
    "adafactor:optimizer.eps": one_of([None, 1.0e-3]),
    "optimizer.t0": number(0),
    "sgd_plain:optimizer.momentum": number(0, 1, open_at=[1]),
    "optimizer.dampening": number(0, 1),
    "nesterov:optimizer.dampening": one_of(0, 0.0),
    "sgd_plain:optimizer.nesterov": one_of(False),
    "optimizer.max_eval": either(NULL, whole(1)),
    "optimizer.tolerance_grad": number(0),
    "optimizer.tolerance_change": number(0),
    "optimizer.line_search_fn": one_of("strong_wolfe", None),
    "scheduler.warmup_steps": NULL,  # with warmup_fraction
    "scheduler.decay_steps": NULL,  # with decay_fraction
    "scheduler.decay_fraction": number(0, 0.95),  # the rest is the warm-up
    "scheduler.drop_every_steps": NULL,  # with drop_every_fraction
    "callbacks.early_stopping": NULL,
    "callbacks.histograms": NULL,
    "callbacks.average": NULL,
    "callbacks.snapshots": NULL,
    "callbacks.diagnostics": NULL,
    "callbacks.average.every_n_steps": either(NULL, whole(1)),
    "callbacks.snapshots.steps": each(whole(1)),
    "callbacks.best.dirpath": lambda v: False,  # checkpoints/ of the run
    "callbacks.best.monitor": one_of("val/accuracy"),
    "early_stopping:callbacks.best.monitor": one_of("val/loss"),
    "callbacks.best.save_on_train_epoch_end": either(NULL, SWITCH),
    "callbacks.best.enable_version_counter": one_of(False),  # keeps one file
    "callbacks.progress.title": text,
    "callbacks.early_stopping.patience": whole(0),
    "callbacks.early_stopping.min_delta": number(0),
    "trainer.devices": one_of(1),
    "trainer.max_steps": either(one_of(-1), whole(1)),
    "trainer.gradient_clip_val": either(NULL, number(0, open_at=[0])),
    "trainer.gradient_clip_algorithm": NULL,  # of no effect without gradient_clip_val
    "trainer.precision": one_of("32-true", None),
    "trainer.log_every_n_steps": either(NULL, whole(1)),
    "trainer.num_sanity_val_steps": either(NULL, one_of(-1), whole(0)),
    "trainer.enable_progress_bar": either(NULL, SWITCH),
    "trainer.enable_model_summary": either(NULL, SWITCH),
    "logger.csv.save_dir": text,
    "logger.csv.name": text,
    "logger.csv.version": either(text, NULL),
    "logger.tensorboard.save_dir": text,
    "logger.tensorboard.name": either(text, NULL),
    "logger.tensorboard.version": either(text, NULL),
    "logger.tensorboard.flush_secs": number(0, open_at=[0]),
    "hydra.sweeper.trials": whole(2, 4),
    "hydra.sweeper.extra_trials": whole(0, 4),
    "hydra.sweeper.finalists": whole(0),
    "hydra.sweeper.finalist_seeds": whole(0),
    "hydra.sweeper.seeds": whole(1, 9999),
    "hydra.sweeper.tune": one_of("once", "each_seed"),
    "hydra.sweeper.schedule": one_of("full", "halving"),
    "hydra.sweeper.tuning_seed": whole(0),
    "hydra.sweeper.rounds": one_of([5, 10, 20], [5]),
    "hydra.sweeper.first_seed": whole(0),
    "hydra.sweeper.space": one_of("auto", "lr", "all"),
    "hydra.sweeper.only": NULL,
    "hydra.sweeper.params": either(NULL, one_of({})),
    "hydra.sweeper.rows": one_of({}),
    "hydra.sweeper.max_batch_size": either(NULL, whole(1)),
    "hydra.launcher.num_processes": either(NULL, whole(1)),
    "hydra.launcher.memory_per_run_gib": number(0, open_at=[0]),
}
VALUES: list[Any] = [
    *(None, True, "text", -1, 0, 1, 0.5, 1.5, 10**30, 1.0e30, math.nan, math.inf, -math.inf),
    *([1], [0.5, "text"], [0.5, 0.9, 0.9], {"a": 1}),
]


@dataclass(frozen=True)
class Option:
    """An option of a file of conf/, and what has to be typed for it to be there."""

    path: str
    value: Any
    comment: str
    context: tuple[str, ...]

    @property
    def rule(self) -> Rule:
        choices = [typed.partition("=")[2] for typed in self.context]
        for name in (*(f"{choice}:{self.path}" for choice in choices), self.path):
            if name in RULES:
                return RULES[name]
        if isinstance(self.value, bool):
            return SWITCH
        if isinstance(self.value, str):
            return one_of(self.value)
        if isinstance(self.value, dict):
            return either(NULL, lambda v: v == {"a": 1} and None) if self.is_entry else no_value
        return _documented(self)

    @property
    def is_entry(self) -> bool:
        """Whether it is a whole entry of callbacks or logger, which null switches off."""
        group, _, name = self.path.partition(".")
        return group in ("callbacks", "logger") and "." not in name


@dataclass(frozen=True)
class Case:
    kind: str
    arguments: tuple[str, ...]
    names: str  # the answer has to contain
    is_right: bool | None  # None: either, if it is explained


def no_value(value: Any) -> bool:
    return False


def _documented(option: Option) -> Rule:
    interval = re.search(r"([\[(])(-?[\d.]+), (-?[\d.]+)([\])])", option.comment)
    bound = re.search(r"(>=|<=|>|<) (-?[\d.]+)", option.comment)
    if interval:
        low, high = float(interval[2]), float(interval[3])
        excluded = [low] * (interval[1] == "(") + [high] * (interval[4] == ")")
        rule = number(low, high, excluded)
    elif bound:
        end = float(bound[2])
        low, high = (end, math.inf) if ">" in bound[1] else (-math.inf, end)
        rule = number(low, high, [] if "=" in bound[1] else [end])
    else:
        raise SystemExit(
            f"{option.path} ({' '.join(option.context)}) has no range in its comment in conf/.\n\n"
            "hint: write one there, such as >= 0 or in [0, 1); or add it to RULES of this script"
        )
    if type(option.value) is int:
        return lambda v: type(v) is int and v < 2**63 and rule(v)
    return rule


def options() -> Iterator[Option]:
    """All options of the files of conf/ that can be tried here."""
    values, comments = _read(CONF / "train.yaml")
    skipped = {"hydra", "run_dir", *GROUPS}
    yield from _below("", {k: v for k, v in values.items() if k not in skipped}, comments, ())
    for group in GROUPS:
        for path in sorted((CONF / group).glob("*.yaml")):
            if f"{group}/{path.stem}" in SKIPPED or "pretrained" in path.stem:
                continue
            values, comments = _read(path)
            if str(values.get("_target_")).startswith("pytorch_optimizer."):
                continue  # its types hold; whether a value makes sense is left to the package
            chosen = f"{group}={path.stem}"
            context = (chosen, *CONTEXTS.get(chosen, ()))
            yield from _below(f"{group}.", values, comments, context)


def hydra_options() -> Iterator[Option]:
    choices = {"sweeper": ("fair", "adaptive", "table"), "launcher": ("local",)}
    for name, chosen in ((name, each) for name, some in choices.items() for each in some):
        values, comments = _read(CONF / "hydra" / name / f"{chosen}.yaml")
        context = ("-m", "plan=true", f"hydra/{name}={chosen}")
        yield from _below(f"hydra.{name}.", values, comments, context)


def _below(
    root: str, values: dict[str, Any], comments: dict[str, str], context: tuple[str, ...]
) -> Iterator[Option]:
    """The options of a file, whose paths begin with `root`, and those below entries among them."""
    for name, value in values.items():
        if not name.startswith("_") and f"{root}{name}" not in LABELS:
            yield Option(f"{root}{name}", value, comments.get(name, ""), context)
            if isinstance(value, dict):
                inner = {
                    path.removeprefix(f"{name}."): comment
                    for path, comment in comments.items()
                    if path.startswith(f"{name}.")
                }
                yield from _below(f"{root}{name}.", value, inner, context)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of a file and of those that it includes, and the comments behind them."""
    own: Any = OmegaConf.load(path)
    parts: list[Any] = []
    comments: dict[str, str] = {}
    for included in own.pop("defaults", []) if path.parent != CONF else []:
        if isinstance(included, str) and included != "_self_":
            values, found = _read(path.parent / f"{included.removesuffix('@_here_')}.yaml")
            parts.append(values)
            comments |= found
    own.pop("defaults", None)
    parents: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        found_line = re.match(r"^( *)([\w-]+):(?: .*?)?(?:\s+# (.*))?$", line)
        if found_line:
            indent, name, comment = found_line.groups()
            parents = [parent for parent in parents if parent[0] < len(indent)]
            parents.append((len(indent), name))
            comments[".".join(parent for _, parent in parents)] = comment or ""
    merged: Any = OmegaConf.to_container(OmegaConf.merge(*parts, own), resolve=False)
    return merged, comments


def cases(rng: random.Random) -> list[Case]:
    """Everything that can be generated, in a fixed order for one state of the generator."""
    tried = [*options(), *hydra_options()]
    siblings = {option.path.rpartition(".")[2] for option in tried}
    made = [
        case
        for option in tried
        for case in (*_values_of(option), _misspelled(option, siblings, rng))
    ]
    made += [
        Case("deleted", (*option.context, f"~{option.path}"), option.path.rpartition(".")[2], None)
        for option in tried
        if not option.path.startswith("hydra.")
    ]
    for group in (*GROUPS, "experiment", "debug"):
        for path in sorted((CONF / group).glob("*.yaml")):
            wrong = _scrambled(path.stem, rng)
            if not (path.parent / f"{wrong}.yaml").exists():
                made.append(Case("choice", (f"{group}={wrong}",), f"{group}={path.stem}", False))
        made.append(Case("misspelled", (f"{_scrambled(group, rng)}=x",), group, False))
    for line in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            typed, _, name = line.removeprefix("right: ").partition("  # ")
            last = typed.split()[-1].partition("=")[0].lstrip("+~").rpartition(".")[2]
            is_right = line.startswith("right: ")
            kind = "right" if is_right else "contradiction"
            made.append(Case(kind, tuple(typed.split()), name or last, is_right))
    unique = {case.arguments: case for case in made if case.arguments[-1] not in COSTLY}
    return list(unique.values())


def _values_of(option: Option) -> Iterator[Case]:
    own = [] if _is_reference(option.value) or isinstance(option.value, dict) else [option.value]
    for value in [*VALUES, *own]:
        is_right = option.rule(value)
        kind = "right" if is_right else "null" if value is None else _kind(value, option.value)
        typed = f"{option.path}={_typed(value)}"
        yield Case(kind, (*option.context, typed), option.path, is_right)


def _kind(value: Any, default: Any) -> str:
    numbers = (int, float)
    same = type(value) in numbers and (type(default) in numbers or default is None)
    return "range" if same else "type"


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and ("${" in value or value == "???")


def _typed(value: Any) -> str:
    """A value as Hydra's grammar has it."""
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_typed(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        return value if re.fullmatch(r"[\w/.-]+", value) else json.dumps(value)
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def _misspelled(option: Option, siblings: set[str], rng: random.Random) -> Case:
    parts = option.path.split(".")
    lowest = 1 if parts[0] == "hydra" else 0  # Hydra's own top level is Hydra's
    level = rng.randrange(lowest, len(parts))
    wrong = _scrambled(parts[level], rng, siblings)
    path = ".".join([*parts[:level], wrong, *parts[level + 1 :]])
    value = "1" if isinstance(option.value, dict) or _is_reference(option.value) else None
    typed = f"{rng.choice(('', '+'))}{path}={value or _typed(option.value)}"
    return Case("misspelled", (*option.context, typed), ".".join(parts[: level + 1]), False)


def _scrambled(name: str, rng: random.Random, taken: Collection[str] = ()) -> str:
    """A name with one letter doubled, dropped, or swapped with its neighbor."""
    ends = range(len(name))
    made = [name[: at + 1] + name[at:] for at in ends]
    if len(name) > 2:  # else nobody can tell what is meant
        made += [name[:at] + name[at + 1 :] for at in ends]
        made += [name[:at] + name[at : at + 2][::-1] + name[at + 2 :] for at in ends]
    return rng.choice([each for each in made if each != name and each not in taken])


def drawn(count: int, seed: int) -> list[Case]:
    """`count` cases, as many of every kind as it has, rarer kinds first; 0 for all."""
    rng = random.Random(seed)
    by_kind: dict[str, list[Case]] = {}
    for case in cases(rng):
        by_kind.setdefault(case.kind, []).append(case)
    if not count:
        return [case for some in by_kind.values() for case in some]
    chosen: list[Case] = []
    for left, some in zip(
        range(len(by_kind), 0, -1), sorted(by_kind.values(), key=len), strict=True
    ):
        chosen += rng.sample(some, min(len(some), (count - len(chosen)) // left))
    return chosen


def answer(arguments: Sequence[str], outputs: Path) -> tuple[bool, str]:
    """What a command line is answered: whether it did its work, and all that was printed."""
    overridden = {each.partition("=")[0].lstrip("~+") for each in arguments}
    base = [f"{k}={v}" for k, v in BASE.items() if k.lstrip("+") not in overridden]
    if "debug=fast_dev_run" in arguments or "--cfg" in arguments:
        base = [each for each in base if not each.startswith("+")]
    where = [] if "outputs" in overridden else [f"outputs={outputs}"]
    main = hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(cli.train)
    GlobalHydra.instance().clear()
    sys.argv = [str(ROOT / "train.py"), *arguments, *base, *where]  # flags come first
    printed = io.StringIO()
    code: Any = 0
    # Hydra composes a config twice, first only to learn the mode, which is plain here
    mode = mock.patch("hydra._internal.hydra.Hydra.get_mode", lambda *_, **__: None)
    with mode, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            cli.run_cli(main)
        except SystemExit as end:
            code = end.code
            if isinstance(code, str):
                print(code)
        except Exception:
            code = 1
            traceback.print_exc()
    found = map(find_record, recorded_runs(outputs))
    trained = any(record is not None and record.has_result for record in found)
    return code in (0, None) or trained, printed.getvalue()


def judged(case: Case, done: bool, printed: str) -> str:
    """`refused`, `right`, or what is wrong with the answer."""
    if "Traceback (most recent call last)" in printed:
        return f"traceback: {printed.strip().splitlines()[-1]}"
    if done:
        return "accepted although wrong" if case.is_right is False else "right"
    if case.is_right:
        return "refused although right"
    message = re.sub(r"(?m)^  (log|again): .*$", "", printed)  # which repeats what was typed
    if not re.search(rf"(?<!\w){re.escape(case.names)}(?!\w)", message, re.IGNORECASE):
        return f"does not name {case.names}"
    return "refused"


def _short(printed: str) -> str:
    """The beginning of an answer, or the end of one with a traceback."""
    lines = [line[:200] for line in printed.strip().splitlines() if line.strip()]
    return "\n".join(lines[-6:] if "Traceback" in printed else lines[:6])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=700, help="command lines (700); 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (0)")
    parser.add_argument("--only", default="", help="those of this kind or with this text only")
    parser.add_argument("--show", action="store_true", help="print every answer")
    typed = parser.parse_args(arguments)
    console = Console(soft_wrap=True, highlight=False)
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for index, case in enumerate(drawn(typed.count, typed.seed)):
            if typed.only not in f"{case.kind} {' '.join(case.arguments)}":
                continue
            given = [each.replace(RUN, _finished_run(folder)) for each in case.arguments]
            done, printed = answer(given, Path(folder, f"{index}"))
            outcome = judged(case, done, printed)
            is_fine = outcome in ("refused", "right")
            counts[case.kind, outcome if is_fine else "offenders"] += 1
            if typed.show or not is_fine:
                console.print(f"[bold]{escape(' '.join(case.arguments))}[/bold]: {outcome}")
                console.print(escape(_short(printed)), style="dim")
    outcomes = ("refused", "right", "offenders")
    table = Table("kind", *outcomes, "total")
    for kind in (*sorted({kind for kind, _ in counts}), "all"):
        row = [
            sum(n for (k, o), n in counts.items() if kind in (k, "all") and o == outcome)
            for outcome in outcomes
        ]
        table.add_row(kind, *map(str, [*row, sum(row)]))
    console.print(table)
    return 1 if any(outcome == "offenders" for _, outcome in counts) else 0


@cache
def _finished_run(folder: str) -> str:
    """The folder of a trained CNN, which a fine-tuned network starts from."""
    outputs = Path(folder, "finished")
    chosen = ("model=cnn", "model.filters=[4]", "model.global_pooling=max", "callbacks=default")
    done, printed = answer(chosen, outputs)
    assert done, printed
    return str(recorded_runs(outputs)[0])


if __name__ == "__main__":
    sys.exit(main())
