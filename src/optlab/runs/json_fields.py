"""Read JSON files as dataclasses, with an error that names a field of the wrong type."""

import json
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

_NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


class DamagedFile(ValueError):
    """Raised if a file cannot be read as its dataclass.

    Attributes:
        problem: description of the problem that starts with the file's name.
    """

    def __init__(self, path: Path, problem: str, hint: str) -> None:
        self.path, self.problem = path, f"{path.name} {problem}"
        super().__init__(f"{path} {problem}.\n\nhint: {hint}")


def read_fields(path: Path, kind: type[T], *, version: int, hint: str) -> T:
    """Read a JSON object as a dataclass with a field `format`. Unknown keys are ignored.

    Args:
        path: the file.
        kind: the dataclass.
        version: the `format` that is read.
        hint: what a user can do about a damaged file.

    Raises:
        FileNotFoundError: if the file does not exist.
        DamagedFile: if it is not JSON, or a field is missing or has the wrong type.
    """
    try:
        # NaN and Infinity are not JSON, although Python reads and writes them; read them as null
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFile(path, f"cannot be read ({error})", hint) from error
    try:
        if isinstance(content, dict) and content.get("format", version) != version:
            raise ValueError(f"has format {content['format']!r}; this version reads {version}")
        found: T = from_json(kind, content)
    except ValueError as error:
        raise DamagedFile(path, str(error), hint) from error
    return found


def from_json(kind: Any, value: Any, field: str = "") -> Any:
    """Return a parsed JSON value as `kind`.

    Args:
        kind: a dataclass, a plain type, Any, Literal, or list, dict or `X | None` of these.
        value: the value. In a dataclass, null and a missing key count as the field's default.
        field: dotted name for messages.

    Raises:
        ValueError: with the field's name, if the value is of another type.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin is UnionType:
        (inner,) = (each for each in arguments if each is not NoneType)
        return None if value is None else from_json(inner, value, field)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"has {field} {value!r}; allowed: {', '.join(arguments)}")
        return value
    if origin is list and isinstance(value, list):
        return [from_json(arguments[0], one, f"{field}[{i}]") for i, one in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {key: from_json(arguments[1], one, f"{field}.{key}") for key, one in value.items()}
    if is_dataclass(kind) and isinstance(value, dict):
        return kind(**_arguments(kind, value, f"{field}." if field else ""))  # type: ignore[operator]
    if kind in (int, float) and isinstance(value, Integral if kind is int else Real):
        if not isinstance(value, bool):
            return kind(value)
    elif kind in (str, bool) and isinstance(value, kind):
        return value
    expected = _NAMES.get(kind, "a list" if origin is list else "an object")
    raise ValueError(f"has {field or 'content'} {repr(value)[:60]}, which is not {expected}")


def _arguments(kind: Any, value: dict[str, Any], prefix: str) -> dict[str, Any]:
    found = {}
    for each in fields(kind):
        if value.get(each.name) is not None:
            hint = _type_hints(kind)[each.name]
            found[each.name] = from_json(hint, value[each.name], prefix + each.name)
        elif each.default is MISSING and each.default_factory is MISSING:
            raise ValueError(f"has no {prefix}{each.name}")
    return found


_type_hints = cache(get_type_hints)
