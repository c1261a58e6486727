"""Plug-ins: config classes told apart by their `kind`, one per file, found by looking."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from trainer.core.errors import ConfigError

T = TypeVar("T", bound=BaseModel)


class Registry(Generic[T]):
    """The plug-ins of one sort, keyed by the default of their `kind` field.

    The modules of `package` are imported at the first look-up, so that a new plug-in is
    one new file. As a mark on a field, `Annotated[AdapterConfig, adapters]`, a registry
    makes pydantic take whichever plug-in the value's `kind` names.
    """

    def __init__(self, noun: str, package: str, default: str) -> None:
        self.noun = noun
        self.default = default
        self._package = package
        self._plugins: dict[str, type[T]] = {}
        self._searched = False

    def add(self, plugin: type[T]) -> type[T]:
        """Class decorator: make the plug-in known under its `kind`."""
        kind = plugin.model_fields["kind"].default
        if kind in self._plugins:
            raise ValueError(f"two files define the {self.noun} {kind!r}")
        self._plugins[kind] = plugin
        return plugin

    def __iter__(self) -> Iterator[str]:
        if not self._searched:
            self._searched = True
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
        return iter(sorted(self._plugins))

    def __getitem__(self, kind: str) -> type[T]:
        known = list(self)
        if kind in known:
            return self._plugins[kind]
        near = difflib.get_close_matches(kind, known, n=1)
        hint = f"{near[0]!r}" if near else f"one of {', '.join(known)}"
        raise ConfigError(f"there is no {self.noun} called {kind!r}", hint=hint)

    def make(self) -> T:
        """The default plug-in with its default values."""
        return self[self.default].model_validate({})

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        choices = {kind: handler.generate_schema(self[kind]) for kind in self}
        return core_schema.tagged_union_schema(choices, discriminator=self._kind_of)

    def _kind_of(self, value: Any) -> str:
        found = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
        return str(found or self.default)
