"""Type hundreds of wrong command lines, and some right ones; list those that are answered badly.

python scripts/fuzz_command_line.py                       about 700 command lines in some minutes
python scripts/fuzz_command_line.py --count 60 --seed 1   some of them, drawn with another seed
python scripts/fuzz_command_line.py --count 0             everything that can be generated

They are generated from the files of conf/. What a value may be is read from the comment of its
option ("in [0, 1)", "> 0", ">= 1"), or from RULES below. A wrong command line has to be refused
with a message that names the option, and the right name for a misspelling. A right one has to train
three steps on the embedded digits. All of them go through the door of train.py, in this process.
"""

import argparse
import contextlib
import io
import json
import math
import os
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

from optlab.training import door

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
CONTEXTS = {  # what a choice needs beside it, besides its own name
    "model=finetuned": ["model.weights=RUN"],
}
# Not tried: needs a download, a further package, or includes other choices only
SKIPPED = (
    *("data/auto", "data/mnist", "data/fashion_mnist", "data/cifar10", "data/image_folder"),
    *("trainer/auto", "trainer/gpu", "trainer/ddp", "trainer/smoke"),
    *("logger/wandb", "logger/mlflow", "logger/many", "logger/none"),
    *("callbacks/figures", "callbacks/none", "callbacks/plateau_and_stopping"),
)
GROUPS = ("data", "model", "module", "optimizer", "scheduler", "callbacks", "trainer", "logger")
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
    return lambda v: any(type(v) is type(each) and v == each for each in allowed)


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
    "scheduler.warmup_steps": NULL,  # beside warmup_fraction
    "scheduler.drop_every_steps": NULL,  # beside drop_every_fraction
    "callbacks.early_stopping": NULL,
    "callbacks.histograms": NULL,
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
    "hydra.sweeper.seeds": whole(1),
    "hydra.sweeper.tuning_seed": whole(0),
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
# Each contradicts itself, or means nothing. The answer has to name the last option, or what stands
# behind #.
WRONG = """
data.fold=2  # data.num_folds
data.num_folds=1
data.num_folds=100000
data.val_fraction=0.001
data.train_fraction=0.001
data.augment.crop_fill=reflect
+data.title=mine
+data.image_size=8
data.batch_size=76 model.batch_norm=true  # data.batch_size
model.dropout=[0.1]
model=cnn model.layers=[1,1,1]
model=cnn model.filters=[1,1,1,1,1]
model=cnn model.kernel_size=2
model=finetuned model.weights=RUN model.freeze_body=false model.unfreeze_epoch=1
model=finetuned model.weights=RUN model.resize_to=8  # model.fit
model=finetuned  # model.weights
model=finetuned model.weights=nowhere
optimizer=lbfgs trainer.accumulate_grad_batches=2
optimizer=lbfgs trainer.gradient_clip_val=1
optimizer=lbfgs model=finetuned model.weights=RUN  # model.freeze_body
optimizer=rprop module.decay_norm_and_bias=false
optimizer=sgd optimizer.momentum=0 optimizer.nesterov=true  # momentum
optimizer=adam +optimizer.foreach=true
optimizer=adam optimizer.fused=false +optimizer.capturable=true
optimizer=sgd optimizer.fused=false +optimizer.differentiable=true
optimizer=rprop optimizer.etas=[1.2,0.5]  # eta
optimizer=rprop optimizer.step_sizes=[1,0.1]
optimizer=rprop optimizer.step_sizes=[-1,0.1]
optimizer=adafactor optimizer.eps=[null,-1]
optimizer=adafactor optimizer.eps=[0.1]
optimizer.betas=[0.9,1.0]
optimizer.betas.0=2  # optimizer.betas
~optimizer  # optimizer is null
~model  # model is null
~module
~data
~trainer
scheduler=warmup_cosine scheduler.warmup_steps=1
scheduler=warmup_cosine scheduler.warmup_fraction=null  # scheduler.warmup_steps
scheduler=onecycle scheduler.warmup_fraction=1.0
scheduler=step scheduler.drop_every_steps=1
scheduler=step scheduler.drop_every_fraction=0
scheduler=warm_restarts scheduler.num_cycles=4
scheduler=warm_restarts scheduler.num_cycles=2000 trainer.max_steps=-1  # num_cycles
scheduler=plateau +trainer.check_val_every_n_epoch=2
callbacks=early_stopping callbacks.early_stopping.monitor=val/accuracy  # mode
callbacks=early_stopping callbacks.early_stopping.monitor=train/loss
callbacks=early_stopping callbacks.early_stopping.mode=most
callbacks=default callbacks.best.monitor=test/accuracy
callbacks=default callbacks.best.mode=min
callbacks=default callbacks.best.save_top_k=3
callbacks=default +callbacks.best.every_n_epochs=-1
callbacks=default +callbacks.best.every_n_train_steps=2  # callbacks.best
+callbacks.mine.patience=3  # callbacks.mine
+callbacks.mine._target_=optlab.NoSuchClass
+callbacks.mine._target_=lightning.pytorch.callbacks.EarlyStopping  # monitor
+logger.mine._target_=optlab.NoSuchClass
callbacks.best=true
logger=csv logger.csv=true
num_replicas=2 optimizer=muon  # num_replicas
num_replicas=2 trainer.gradient_clip_val=1  # num_replicas
num_replicas=2 callbacks=early_stopping  # num_replicas
num_replicas=2 callbacks.best=null
num_replicas=2 scheduler=plateau  # num_replicas
num_replicas=2 model=mlp_numpy  # num_replicas
num_replicas=2 data.seed=3  # num_replicas
num_replicas=2 compile=true  # num_replicas
model=mlp_numpy optimizer=lbfgs
model=mlp_numpy ~optimizer
model=mlp_numpy ~module
model=mlp_numpy model.activation=elu
model=mlp_numpy +model.dropout=0.5
model=mlp_numpy +model.batch_norm=true
model=mlp_numpy compile=true
model=mlp_numpy module.label_smoothing=0.1
trainer=gpu  # trainer.accelerator
trainer.accelerator=tpu  # torch_xla
trainer.accelerator=mps
trainer.devices=2
trainer.precision=16-mixed
trainer.precision=8
trainer.strategy=fsdp
trainer=ddp trainer.accelerator=cpu optimizer=lbfgs  # optimizer=lbfgs
trainer.gradient_clip_algorithm=value
trainer.gradient_clip_val=1 trainer.gradient_clip_algorithm=size
cuda_graphs=true
+trainer.fast_dev_run=true  # debug=fast_dev_run
+trainer.fast_dev_run=-1
+trainer.min_epochs=5
+trainer.min_steps=10
+trainer.max_time=soon  # duration
+trainer.limit_train_batches=0
+trainer.limit_train_batches=1.5
+trainer.limit_train_batches=text
+trainer.limit_val_batches=0
+trainer.limit_val_batches=0.0001
+trainer.limit_test_batches=0
+trainer.limit_test_batches=2.5
+trainer.overfit_batches=-1
+trainer.val_check_interval=0
+trainer.val_check_interval=1.5
+trainer.val_check_interval=100
+trainer.check_val_every_n_epoch=0
+trainer.check_val_every_n_epoch=-1
+trainer.check_val_every_n_epoch=5
+trainer.reload_dataloaders_every_n_epochs=-1
+trainer.num_nodes=2
+trainer.profiler=simpel
+trainer.deterministic=maybe
+trainer.benchmark=maybe
+trainer.detect_anomaly=maybe
+trainer.inference_mode=maybe
+trainer.sync_batchnorm=true
+trainer.callbacks=[]
+trainer.barebones=true
run_dir=elsewhere
study=a/b
study=
seed=
seed==3
seed=0,1
optimizer=sgd,adam
optimizer.lr=0.1.2
optimizer.lr=${nothing}  # nothing
optimizer.betas=[0.9  # [0.9
seed
optimizer adam  # optimizer
+half=0.5
optimizer._target_=torch.optim.Sgd
optimizer._target_=torch.nn.Linear  # Linear
model._target_=3
trainer._target_=optlab.NoSuchClass
ckpt_path=nowhere.ckpt
experiment=mnist_optimizer  # experiment=mnist_optimizers
debug=fastdevrun  # debug=fast_dev_run
hydra/launcher=locale  # hydra/launcher=local
hydra/sweeper=fiar  # hydra/sweeper=fair
hydra/sweeper=fair  # -m
--trainer.max_epochs=3
-x
--sweep
--cfg jobs
--info=nothing  # nothing
--config-name=trian  # trian
--config-dir=nowhere  # nowhere
--cfg job --package optimzer
--resolve
-m --cfg job  # --cfg
-m plan=true hydra/sweeper=fair seed=0,1
-m plan=true hydra/sweeper=fair optimizer.lr=0.1
-m plan=true hydra/sweeper=fair num_replicas=2
-m plan=true hydra/sweeper=fair ~optimizer
-m plan=true hydra/sweeper=table hydra.sweeper.only=[nothing]
-m plan=true num_replicas=2 seed=0,1  # num_replicas
-m plan=true optimizer=sgd,adan  # optimizer=adam
-m plan=true seed=0,x
-m plan=true +hydra.sweeper.trails=3 hydra/sweeper=fair  # trails
"""
# What looks wrong and is not
RIGHT = """
scheduler=warmup_cosine scheduler.warmup_fraction=null scheduler.warmup_steps=1
scheduler=step scheduler.drop_every_fraction=null scheduler.drop_every_steps=1
data.num_folds=5 data.fold=4
data.augment.crop_padding=4 data.augment.crop_fill=reflect
trainer.gradient_clip_val=1 trainer.gradient_clip_algorithm=value
model=cnn model.layers=[1,2] model.filters=[4,4]
model.hidden_sizes=[]
model.dropout=[0.5,0]
optimizer.betas=[0,0]
optimizer.betas.0=0.5
optimizer=adafactor optimizer.eps=[1.0e-30,1.0e-3]
model=mlp_numpy optimizer.amsgrad=true
num_replicas=2
num_replicas=2 callbacks=default
num_replicas=2 trainer.accumulate_grad_batches=2
scheduler=null logger=null callbacks=null
debug=fast_dev_run
debug=limit
+trainer.overfit_batches=1
+trainer.val_check_interval=0.5
+trainer.limit_train_batches=0.1
+trainer.profiler=simple
+trainer.max_time=00:00:10:00
+trainer.min_epochs=1
+half=0.5 model.dropout=${half}
trainer.precision=bf16-mixed
trainer.precision=64-true
callbacks=plateau_and_stopping
callbacks=early_stopping callbacks.early_stopping={monitor:val/accuracy,mode:max}
+callbacks.mine._target_=lightning.pytorch.callbacks.LearningRateMonitor logger=csv
study=2024
run_name=7
title=2024
--cfg job
-m plan=true hydra/sweeper=fair hydra.sweeper.trials=2 optimizer=sgd
-m plan=true seed=0,1 hydra.launcher.num_processes=1
"""


@dataclass(frozen=True)
class Option:
    """An option of a file of conf/, and what has to be typed for it to be there."""

    path: str
    value: Any
    comment: str
    context: tuple[str, ...]

    @property
    def rule(self) -> Rule:
        for choice in (each.partition("=")[2] for each in self.context):
            if f"{choice}:{self.path}" in RULES:
                return RULES[f"{choice}:{self.path}"]
        if self.path in RULES:
            return RULES[self.path]
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
    yield from _leaves("", {k: v for k, v in values.items() if k not in skipped}, comments, ())
    for group in GROUPS:
        for path in sorted((CONF / group).glob("*.yaml")):
            if f"{group}/{path.stem}" in SKIPPED or "pretrained" in path.stem:
                continue
            values, comments = _read(path)
            chosen = f"{group}={path.stem}"
            context = (chosen, *CONTEXTS.get(chosen, ()))
            yield from _leaves(f"{group}.", values, comments, context)


def hydra_options() -> Iterator[Option]:
    for name, chosen in (("sweeper", "fair"), ("sweeper", "table"), ("launcher", "local")):
        values, comments = _read(CONF / "hydra" / name / f"{chosen}.yaml")
        context = ("-m", "plan=true", f"hydra/{name}={chosen}")
        yield from _leaves(f"hydra.{name}.", values, comments, context)


def _leaves(
    prefix: str, values: dict[str, Any], comments: dict[str, str], context: tuple[str, ...]
) -> Iterator[Option]:
    for name, value in values.items():
        path = f"{prefix}{name}"
        if name.startswith("_") or path in ("model.name", "optimizer.name", "scheduler.name"):
            continue
        local = path.removeprefix(f"{prefix.partition('.')[0]}.") if prefix else path
        if prefix.startswith("hydra."):
            local = name
        yield Option(path, value, comments.get(local, ""), context)
        if isinstance(value, dict):
            yield from _leaves(f"{path}.", value, comments, context)


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
            parents = [each for each in parents if each[0] < len(indent)]
            parents.append((len(indent), name))
            comments[".".join(each for _, each in parents)] = comment or ""
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
        made.append(Case("misspelled", (f"{_scrambled(group, rng)}=x",), rf"{group}", False))
    for line in WRONG.strip().splitlines():
        typed, _, name = line.partition("  # ")
        last = typed.split()[-1].partition("=")[0].lstrip("+~").rpartition(".")[2]
        made.append(Case("contradiction", tuple(typed.split()), name or last, False))
    made += [Case("right", tuple(line.split()), "", True) for line in RIGHT.strip().splitlines()]
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
    main = hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(door.start)
    GlobalHydra.instance().clear()
    sys.argv = [str(ROOT / "train.py"), *arguments, *base, *where]  # flags come first
    printed = io.StringIO()
    code: Any = 0
    # Hydra composes a config twice, first only to learn the mode, which is plain here
    mode = mock.patch("hydra._internal.hydra.Hydra.get_mode", lambda *_, **__: None)
    with mode, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            door.open_for(main)
        except SystemExit as end:
            code = end.code
            if isinstance(code, str):
                print(code)
        except BaseException:
            code = 1
            traceback.print_exc()
    found = [json.loads(path.read_text()) for path in outputs.glob("*/*/record.json")]
    trained = any(record["status"] in ("finished", "diverged") for record in found)
    return code in (0, None) or trained, printed.getvalue()


def judged(case: Case, done: bool, printed: str) -> str:
    """`refused`, `right`, or what is wrong with the answer."""
    if "Traceback (most recent call last)" in printed:
        return f"traceback: {printed.strip().splitlines()[-1]}"
    if done:
        return "accepted although wrong" if case.is_right is False else "right"
    if case.is_right:
        return "refused although right"
    said = re.sub(r"(?m)^  (log|again): .*$", "", printed)  # which repeats what was typed
    if not re.search(rf"(?<!\w){re.escape(case.names)}(?!\w)", said, re.IGNORECASE):
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
    offenders = 0
    environment, here, argv = dict(os.environ), Path.cwd(), sys.argv
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        try:
            for index, case in enumerate(drawn(typed.count, typed.seed)):
                if typed.only not in (case.kind, "") and typed.only not in " ".join(case.arguments):
                    continue
                given = [each.replace(RUN, _finished_run(folder)) for each in case.arguments]
                done, printed = answer(given, Path(folder, f"{index}"))
                outcome = judged(case, done, printed)
                is_fine = outcome in ("refused", "right")
                counts[case.kind, outcome if is_fine else "offender"] += 1
                if not is_fine or typed.show:
                    offenders += not is_fine
                    console.print(f"[bold]{escape(' '.join(case.arguments))}[/bold]: {outcome}")
                    console.print(escape(_short(printed)), style="dim")
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(environment)
            sys.argv = argv
    table = Table("kind", "refused", "right", "offenders", "total")
    for kind in sorted({kind for kind, _ in counts}):
        row = [counts[kind, outcome] for outcome in ("refused", "right", "offender")]
        table.add_row(kind, *map(str, [*row, sum(row)]))
    table.add_section()
    sums = [
        sum(n for (_, o), n in counts.items() if o == each)
        for each in ("refused", "right", "offender")
    ]
    table.add_row("all", *map(str, [*sums, sum(sums)]))
    console.print(table)
    return 1 if offenders else 0


@cache
def _finished_run(folder: str) -> str:
    """The folder of a trained CNN, which a fine-tuned network starts from."""
    outputs = Path(folder, "finished")
    chosen = ("model=cnn", "model.filters=[4]", "model.global_pooling=max", "callbacks=default")
    done, printed = answer(chosen, outputs)
    assert done, printed
    return str(next(outputs.glob("*/*/record.json")).parent)


if __name__ == "__main__":
    sys.exit(main())
