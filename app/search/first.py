"""What a search tries first: the job as it stands, then what presets say."""

from __future__ import annotations

from collections.abc import Iterable

from app import library
from app.search.axis import Value
from app.search.space import Space, key_of
from trainer.core.errors import ConfigError
from trainer.core.trees import Tree, flat, nested
from trainer.job.config import JobConfig
from trainer.job.layers import Layer, Layered, preset_layer, settle

_PERSONAL = (
    "model.kind",
    "model.base",
    "dataset.folder",
    "dataset.trigger",
    "dataset.class_word",
)
"""What a preset leaves open, and the family, which must be the search's."""


def firsts(presets: Iterable[str], space: Space, job: Layered) -> list[dict[str, Value]]:
    """The settings to try first, in order, each once.

    The job's own are left out where the search cannot try them.

    Args:
        presets: By name.
        space: What varies.
        job: What does not.

    Raises:
        ConfigError: A preset is none, is for another family, makes no job with what is the job's
            own, or has a value that the search does not try.
    """
    stood = space.of(job.job)
    found = [] if stood is None else [stood]
    found += [_values(name, space, job) for name in presets]
    return list({key_of(values): values for values in found}.values())


def _values(name: str, space: Space, job: Layered) -> dict[str, Value]:
    preset = library.find(name)
    try:
        settled = settle([preset_layer(preset), Layer("the job", _personal(job))]).job
    except ConfigError as error:
        where = f"search.presets: {name}: {error.where}"
        raise ConfigError(error.problem, where=where, hint=error.hint) from None
    values = space.of(settled)
    if values is None:
        raise _outside(name, space, settled)
    return values


def _outside(name: str, space: Space, job: JobConfig) -> ConfigError:
    said = flat(job.model_dump(mode="json"))
    path = next(a.path for a in space.axes if a.nearest(said.get(a.path)) is None)
    value = said.get(path)
    told = f"has no {path}" if value is None else f"has {path} = {value!r}"
    return ConfigError(
        f"the preset {name!r} {told}, which the search does not try",
        where="search.presets",
        hint=f"search.space.{path} with that value, or leave the preset out",
    )


def _personal(job: Layered) -> Tree:
    told = {o.path: o.value for o in job.origins if o.path in _PERSONAL}
    return nested({path: value for path, value in told.items() if value is not None})
