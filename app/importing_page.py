"""`docs/importing.md`, drawn from the importers' own tables."""

from __future__ import annotations

from trainer.job.importers.base import Importer, importers
from trainer.job.importers.rules import Decides, Maps, Rule

_HEAD = """\
# Importing from other trainers

    sweetspot import FILE                     # what becomes of each key
    sweetspot import FILE --out job.toml      # and a job
    sweetspot import FILE --out job.toml --set dataset.folder=my-pictures
    sweetspot import FILE --json              # the same for scripts

The file's form is found by looking into it. Every key has a line, and the lines add up to the keys:
*mapped* (taken over, with how it was converted), *explained* (no equivalent, and why, or of no
concern), *suspicious* (it does not do what one may think, there or here), *reported* (not known).
Below them stands what is *assumed*: what the file leaves to its trainer's defaults, where ours are
others, such as alpha 1 or a constant learning rate. `unsupported:` begins what has no equivalent.

- Nothing in a file is run. `additional_parameters` are read as `--name value`, and what is known of
  them is taken over, after everything else, as on the command line.
- Numbers may be texts; an empty text is unset, and 0 where the trainer's form means that by it.
- What a job cannot hold is not taken over, and its line says why. A job is written only when it can
  be trained: when the file names no folder of pictures, or its model is none of ours, that is said.
- Second files (datasets of sd-scripts, data backends and LyCORIS settings of SimpleTuner, concepts
  and samples of OneTrainer) are read too where they are found, and their keys accounted for.
- sd-scripts trains the text encoders of every family (of FLUX and SD 3 the CLIPs) unless
  `network_train_unet_only` is set. Where a file leaves that open, it is assumed; a LoRA file's
  header never tells, and its account says so.
- An adapter method or optimizer that Sweetspot does not have is named, with what is used instead;
  once it has it, it is taken over.
- Folders, models and prompts are kept apart as private: a job has them, a preset does not. Keys and
  tokens of services are never shown.
- Read are up to 5 MB of JSON, TOML or YAML (safe, with at most 50 references back), and the headers
  of safetensors files. A file of ours gives its job back, without what is private.

`*` stands for a number, `**` for all below. This page is written by `python -m app.reference`.
"""


def render() -> str:
    """The page, as Markdown."""
    return "\n".join([_HEAD, *(_section(importer) for importer in importers().values())])


def _section(importer: Importer) -> str:
    groups: dict[Rule, list[str]] = {}
    table = importer.own or importer.table
    for name, rule in table.items():
        if table.get(name.removeprefix("network_args.")) is rule and "network_args." in name:
            continue
        groups.setdefault(rule, []).append(name)
    more = "; what is not listed here is called as in sd-scripts, below" if importer.own else ""
    taken = [(rule, names) for rule, names in groups.items() if isinstance(rule, Maps | Decides)]
    left: dict[str, list[str]] = {}
    for rule, names in groups.items():
        if not isinstance(rule, Maps | Decides):
            left.setdefault(rule.odd or rule.why, []).extend(names)
    rows = [f"| {_names(names)} | `{rule.ours}` | {rule.told} |" for rule, names in taken]
    told = [f"- {why}: {_names(names)}" for why, names in left.items()]
    return "\n".join(
        [
            f"## {importer.name}",
            "",
            f"Read is {importer.reads}{more}.",
            "",
            "| There | Here | How |",
            "|---|---|---|",
            *rows,
            "",
            "Not taken over:",
            "",
            *told,
            "",
        ]
    )


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
