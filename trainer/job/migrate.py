"""Settings that an older Sweetspot wrote, read as today's."""

from __future__ import annotations

from collections.abc import Callable

from trainer.core.errors import ConfigError
from trainer.core.trees import Tree
from trainer.job.config import SCHEMA_VERSION

Migration = Callable[[Tree], Tree]
"""Makes settings of one version those of the next; never raises, whatever the values."""

MIGRATIONS: dict[int, Migration] = {}
"""By the version that they read. There is one version so far."""


def migrate(settings: Tree, where: str) -> Tree:
    """The settings as today's version has them.

    Args:
        settings: A job, or part of one; its `version` tells which it was written for, 1 unless
            it says.
        where: What an error calls them.

    Raises:
        ConfigError: They are of a newer version, or of none.
    """
    version = settings.get("version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ConfigError(f"version {version!r} is not a whole number from 1", where=where)
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"its settings are of version {version}, this Sweetspot reads up to {SCHEMA_VERSION}",
            where=where,
            hint="update Sweetspot",
        )
    for number in range(version, SCHEMA_VERSION):
        settings = MIGRATIONS[number](settings)
    return {**settings, "version": SCHEMA_VERSION} if version < SCHEMA_VERSION else settings
