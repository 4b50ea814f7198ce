"""Settings in YAML: files read and laid over one another, dotted overrides, and mistakes told in one line each.

Used for tiers, studies, learning rates and SURE-Math's settings alike. Left out: what the settings mean.
"""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from artifact.errors import ConfigError
from artifact.paths import project_root

M = TypeVar("M")

BAD_YAML = (yaml.YAMLError, ValueError, RecursionError)
"""What parsing raises for text that is not YAML: a ValueError for a date that there is not."""


def _fields_of(model: Any) -> dict[str, Any]:
    """Name → annotation of the fields of a pydantic model or a settings dataclass; empty for anything else."""
    if isinstance(model, type) and is_dataclass(model):
        hints = get_type_hints(model)
        return {f.name: hints[f.name] for f in fields(model)}
    return {name: field.annotation for name, field in getattr(model, "model_fields", {}).items()}


def _field_names(model: type, location: tuple[Any, ...]) -> list[str]:
    """Names allowed at `location` inside `model`, for a helpful message."""
    current: Any = model
    for part in location:
        annotation = _fields_of(current).get(part)
        options = [a for a in getattr(annotation, "__args__", ()) if _fields_of(a)]
        current = options[0] if options else annotation
    return list(_fields_of(current))


def explain(err: ValidationError, model: type, origin: str, overridden: Iterable[str] = ()) -> str:
    """A pydantic error as one line per problem: where the value came from, the dotted key, the nearest right name.

    `origin` is the file; a key that lies at or below one of the `overridden` dotted keys is attributed to the override.
    """
    lines = []
    for e in err.errors():
        key = ".".join(map(str, e["loc"]))
        by = next(
            (o for o in overridden if key and (key == o or key.startswith(o + ".") or o.startswith(key + "."))), None
        )
        source = f"override {by!r}" if by else origin
        if not key:  # a check across sections, whose input is the whole file
            lines.append(f"{origin}: {e['msg'].removeprefix('Value error, ')}")
        elif e["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            allowed = _field_names(model, tuple(e["loc"][:-1]))
            near = difflib.get_close_matches(str(e["loc"][-1]), allowed, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed here: {', '.join(allowed)}"
            lines.append(f"{source}: unknown key {key!r}; {hint}")
        elif e["type"] == "missing":
            lines.append(f"{source}: key {key!r} is missing")
        else:
            lines.append(f"{source}: {key} = {e['input']!r}: {e['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as a dictionary of finite numbers and text; ConfigError names the file when it is not one."""
    try:
        data = copy.deepcopy(_value_of(path.read_bytes()))
    except BAD_YAML as err:
        raise _not_yaml(err, f"{path}: not", "correct the file") from err
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(data).__name__}")
    check_finite(data, path.name)
    return data


@lru_cache(maxsize=256)
def _value_of(text: str | bytes) -> Any:
    """The value written in `text`, which callers share; parsed once, for studies and tiers are read again and again."""
    return yaml.safe_load(text)


def _not_yaml(err: Exception, what: str, remedy: str) -> ConfigError:
    """The error for text that is not YAML: from `what` to `remedy`."""
    return ConfigError(f"{what} valid YAML ({' '.join(str(err).split())[:200]}); {remedy}")


def check_finite(value: Any, origin: str, key: str = "") -> None:
    """Raise ConfigError, naming the dotted key, where a number somewhere in `value` is infinite or not a number."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{origin}: {key} = {value}: must be a finite number")
    if isinstance(value, dict | list | tuple):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            check_finite(part, origin, f"{key}.{name}" if key else str(name))


def parse_overrides(items: list[str] | tuple[str, ...]) -> dict[str, Any]:
    """`["optimiser.lr=1e-3", …]` as a dictionary; values are read as YAML, with 1e-3 a number."""
    out: dict[str, Any] = {}
    for item in items:
        key, eq, text = item.partition("=")
        if not eq or not key:
            raise ConfigError(f"override {item!r} is not of the form key.subkey=value")
        shown = item if len(item) <= 200 else f"{item[:200]} …"
        remedy = f"put it in quotes, as in --set '{key}=\"…\"'"
        try:
            value = yaml.safe_load(text)
        except BAD_YAML as err:
            raise _not_yaml(err, f"override {shown!r}: the value is not", remedy) from err
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                pass
        out[key.strip()] = value
    return out


def apply_overrides(data: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """A deep copy of `data` with dotted `overrides` put in. Unknown keys surface when the result is validated."""
    result = copy.deepcopy(data)
    for dotted, value in overrides.items():
        check_finite(value, f"override {dotted!r}", dotted)
        *parents, last = dotted.split(".")
        node = result
        for part in parents:
            child = node.get(part)
            if child is None:
                child = node[part] = {}
            if not isinstance(child, dict):
                raise ConfigError(f"override {dotted!r}: {part!r} is a value, not a section")
            node = child
        node[last] = copy.deepcopy(value)
    return result


def named_file(folder: str, name: str, what: str) -> Path:
    """`configs/<folder>/<name>.yaml`; an unknown name of a `what` is an error that lists the right ones."""
    path = project_root() / "configs" / folder / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise ConfigError(f"unknown {what} {name!r}; there are: {', '.join(known)}")
    return path


def read_extended(path: Path) -> dict[str, Any]:
    """A YAML file; where it says `extends: BASE`, its keys are laid over those of `BASE.yaml` beside it.

    Sections are merged key by key, everything else is replaced, `models.teachers` too, whose keys are names. `extends`
    stays in the result. ConfigError where BASE
    is not there or itself extends another file: two layers are all one has to look at.
    """
    data = read_yaml(path)
    if (base := data.get("extends")) is None:
        return data
    if not (beside := path.with_name(f"{base}.yaml")).is_file():
        raise ConfigError(f"{path.name}: extends {base!r}, but there is no {beside.name} beside it")
    below = read_yaml(beside)
    if "extends" in below:
        raise ConfigError(f"{path.name}: extends {base!r}, which extends {below['extends']!r}; extend that one itself")
    return _laid_over(below, data)


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict) and key != "teachers"
        merged[key] = _laid_over(merged[key], value) if both else copy.deepcopy(value)
    return merged


@cache
def _adapter(model: type) -> TypeAdapter[Any]:
    """Of a dataclass it takes a millisecond to make, and options of a method are read for every run of a plan."""
    return TypeAdapter(model)


def checked(model: type[M], data: Any, origin: str, overridden: Iterable[str] = ()) -> M:
    """`data` as `model`. Raises ConfigError, one line per problem: which key, from where, the nearest right name."""
    try:
        return cast("M", _adapter(model).validate_python(data))  # type: ignore[arg-type]  # every class is hashable
    except ValidationError as err:
        raise ConfigError(explain(err, model, origin, overridden)) from None
