"""`sweetspot preset library ...`: folders and git repositories of presets."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app import library

library_app = typer.Typer(help="Folders and git repositories of presets.", no_args_is_help=True)
out = Console()


@library_app.command("add")
def library_add(
    source: Annotated[str, typer.Argument(help="A folder, or a git repository's address.")],
    name: Annotated[str, typer.Option(help="What to call it.")] = "",
) -> None:
    """Add a folder (read where it is) or a git repository (copied) of presets."""
    shelf, count = library.add_library(source, name)
    _plain(f"added {shelf.name!r} with {count} presets")


@library_app.command("list")
def library_list() -> None:
    """List the libraries."""
    table = Table("library", "from", box=None, pad_edge=False)
    for shelf in library.libraries():
        table.add_row(shelf.name, shelf.source)
    out.print(table if table.row_count else "no library was added")


@library_app.command("update")
def library_update() -> None:
    """Fetch the git repositories anew."""
    for shelf, count in library.update_libraries():
        _plain(f"{shelf.name}: {count} presets")


@library_app.command("remove")
def library_remove(name: Annotated[str, typer.Argument(help="Which.")]) -> None:
    """Forget a library; a folder stays where it is."""
    _plain(f"removed {library.remove_library(name).name!r}")


def _plain(line: str) -> None:
    out.print(line, markup=False, highlight=False, soft_wrap=True)
