"""Build the object that a node of the config describes."""

from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf


def instantiate_partial(node: DictConfig | None, **values: Any) -> Any:
    """Instantiate a `_partial_` node without its label `name`.

    Args:
        node: a `_target_` with its arguments.
        values: arguments that replace those of the node, or are added to them.

    Returns:
        A `functools.partial`, to call with the remaining arguments; None if the node is None or has
        no `_target_`.
    """
    if node is None or node.get("_target_") is None:
        return None
    plain = OmegaConf.to_container(node, resolve=True)
    assert isinstance(plain, dict)
    return instantiate({**_without_labels(plain), **values})


def optimizer_nodes(node: DictConfig | None) -> list[DictConfig]:
    """Return the config nodes of an optimizer and, for a wrapper, of its base optimizers."""
    nodes = []
    while isinstance(node, DictConfig):
        nodes.append(node)
        node = node.get("base")
    return nodes


def _without_labels(node: dict[Any, Any]) -> dict[Any, Any]:
    """Return a node without its `name` and without the `name` of its base optimizer."""
    return {
        key: _without_labels(value) if key == "base" and isinstance(value, dict) else value
        for key, value in node.items()
        if key != "name"
    }
