"""Label configurations: the optimizer and whatever else varies, short but unique."""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

_MISSING = "\0missing"  # no config value reads like this

# Names for readers; the terminal and CSV files have the label, which is what the user types.
_DISPLAY_NAMES = {
    "sgd": "SGD with momentum",
    "sgd_plain": "plain SGD",
    "nesterov": "Nesterov",
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
    "nadam": "NAdam",
    "radam": "RAdam",
    "adamax": "Adamax",
    "adadelta": "Adadelta",
    "adafactor": "Adafactor",
    "asgd": "ASGD",
    "rprop": "Rprop",
    "lbfgs": "L-BFGS",
    "muon": "Muon",
    "schedule_free": "Schedule-Free",
    "adabelief": "AdaBelief",
    "adahessian": "AdaHessian",
    "adan": "Adan",
    "ademamix": "AdEMAMix",
    "adopt": "ADOPT",
    "asam": "ASAM",
    "came": "CAME",
    "grams": "Grams",
    "lamb": "LAMB",
    "lars": "LARS",
    "lion": "Lion",
    "lookahead": "Lookahead",
    "mars": "MARS",
    "prodigy": "Prodigy",
    "sam": "SAM",
    "shampoo": "Shampoo",
    "soap": "SOAP",
    "sophia": "Sophia-H",
}


def label_configurations(
    configs: Sequence[dict[str, Any]],
    nuisance: Sequence[str] = (),
    only: Sequence[str] | None = None,
) -> list[str]:
    """A short unique name for each flat config, from what varies between them.

    Where three keys or more vary, or each config has an optimizer of its own, a value that most
    configs share goes without saying. In the first case the config that has all of those is the
    `baseline`.

    Args:
        configs: flat configs, all different.
        nuisance: see `group_runs`.
        only: the keys that may be in a label; None allows all.
    """
    if not configs:
        return []
    configs, parts = _with_choices(configs)
    keys = sorted({key for config in configs for key in config if only is None or key in only})
    names = {key for config in configs for key in config if _is_name(key)}

    def surroundings(key: str) -> list[str]:
        """Nodes and names; this key distinguishes only configs that agree in them."""
        around = [part for part in parts if key.startswith(f"{part}.")]
        if around:
            return around
        is_tuned = any(
            key == k or key.endswith(f".{k}") or key.startswith(f"{k}.") for k in nuisance
        )
        section = "optimizer" if is_tuned else key.partition(".")[0]
        # A name is distinguished from others by the names around it: those of the optimizer's
        # base by the optimizer's
        own = key.removesuffix("name") if key in names else None
        return [
            name
            for name in names
            if name.startswith(f"{section}.") and not (own and name.startswith(own))
        ]

    shown: list[list[str]] = [[] for _ in configs]
    for key in keys:
        around = surroundings(key)
        choices = [tuple(as_text(config.get(each)) for each in around) for config in configs]
        values = defaultdict(set)
        for choice, config in zip(choices, configs, strict=True):
            values[choice].add(as_text(config.get(key, _MISSING)))
        for some, choice in zip(shown, choices, strict=True):
            if len(values[choice]) > 1:
                some.append(key)
    varying = {key for some in shown for key in some}
    others = varying - {"optimizer.name"}
    optimizers = {config.get("optimizer.name") for config in configs}
    if len(others) >= 3 or len(optimizers) == len(configs):
        usual = _usual_values(configs, others)
        shown = [
            [key for key in some if as_text(config.get(key, _MISSING)) != usual.get(key)]
            for config, some in zip(configs, shown, strict=True)
        ]
    short = _short_keys(varying)
    labels = [
        _label(config, some, short) if some or not varying else "baseline"
        for config, some in zip(configs, shown, strict=True)
    ]
    for label in {label for label in labels if labels.count(label) > 1}:
        twins = [index for index, other in enumerate(labels) if other == label]
        for number, index in enumerate(twins, start=1):
            labels[index] = f"{label} · #{number}"
    return labels


def _is_name(key: str) -> bool:
    """Whether a key names a choice, as `optimizer.name` does; of a callback it is an argument."""
    return key.endswith(".name") and not key.startswith("callbacks.")


def _with_choices(configs: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], set[str]]:
    """Replace the classes of nodes, such as callbacks, by a choice where they are not all equal.

    `callbacks.average._target_: ...EMAWeightAveraging` becomes `callbacks.average:
    EMAWeightAveraging`, and `off` where there is none.

    Returns:
        The configs, and these nodes. Nodes with a `name` are distinguished by it.
    """
    keys = {key for config in configs for key in config}
    names = {key for key in keys if _is_name(key)}
    nodes = {key.removesuffix("._target_") for key in keys if key.endswith("._target_")}
    nodes |= {key for config in configs for key, value in config.items() if value is None}
    result, parts = [dict(config) for config in configs], set()
    for node in nodes:
        choices = _choices(configs, node)
        if f"{node}.name" not in names and len({*choices}) > 1:
            parts.add(node)
            for config, choice in zip(result, choices, strict=True):
                config.pop(f"{node}._target_", None)
                config[node] = choice
    return result, parts


def _choices(configs: Sequence[dict[str, Any]], node: str) -> list[str]:
    """The class of a node in each config, with its path where two share a name; or on and off.

    The only class of a node that is named like it, such as `early_stopping`, is `on`.
    """
    paths = [str(config.get(f"{node}._target_") or "") for config in configs]
    classes = {path: path.rpartition(".")[2] for path in paths if path}
    names = list(classes.values())
    if [name.lower() for name in names] == [node.rpartition(".")[2].replace("_", "")]:
        classes = {}
    elif len({*names}) < len(names):
        classes = {path: path for path in classes}
    return [
        classes.get(path) or ("on" if any(key.startswith(f"{node}.") for key in config) else "off")
        for path, config in zip(paths, configs, strict=True)
    ]


def _usual_values(configs: Sequence[dict[str, Any]], keys: set[str]) -> dict[str, str]:
    """For each key, the value that more than half of the configs share, where there is one."""
    usual = {}
    for key in keys:
        values = [as_text(config.get(key, _MISSING)) for config in configs]
        most = max(sorted(set(values)), key=values.count)
        if values.count(most) * 2 > len(values):
            usual[key] = most
    return usual


def _label(config: dict[str, Any], keys: list[str], short: dict[str, str]) -> str:
    optimizer = str(config.get("optimizer.name", "?"))
    others = [key for key in keys if key != "optimizer.name" and key in config]
    others.sort(key=lambda key: (not key.endswith(".name"), key))
    parts = [optimizer] if "optimizer.name" in keys or not others else []
    # The choice of a group says enough; that of an optimizer's base would look like an optimizer
    if not parts and len(others) == 1 and re.fullmatch(r"\w+\.name", others[0]):
        return _value(config[others[0]])
    return " · ".join([*parts, *(f"{short[key]}={_value(config[key])}" for key in others)])


def _short_keys(keys: set[str]) -> dict[str, str]:
    """`data.batch_size` as batch_size and `model.name` as model, where that stays unique."""
    short = {key: key.removesuffix(".name").rpartition(".")[2].strip("_") for key in keys}
    taken = list(short.values())
    return {key: name if taken.count(name) == 1 else key for key, name in short.items()}


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return str(value)


def as_text(value: Any) -> str:
    """A config value as text that is equal for equal values."""
    return json.dumps(value, sort_keys=True, default=str)


def natural_order(label: str) -> list[tuple[int, float, str]]:
    """Sort key that puts lr=0.01 before lr=0.1 before lr=10."""
    pieces = re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", label)
    return [
        (0, float(piece), "") if index % 2 else (1, 0.0, piece)
        for index, piece in enumerate(pieces)
    ]


def display_name(label: str) -> str:
    """A label with its optimizer as its authors write it: `adamw · lr=0.1` gives AdamW · lr=0.1."""
    head, separator, rest = label.partition(" · ")
    return _DISPLAY_NAMES.get(head, head) + separator + rest
