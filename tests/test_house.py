"""The house rules that no linter knows."""

import ast
import functools
import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from app import reference
from trainer.core import errors, events
from trainer.core.schema import FieldSpec, describe
from trainer.job.config import JobConfig

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("trainer", "analysis", "app")
HEAVY = {"torch", "diffusers", "transformers", "peft", "accelerate", "gradio", "scipy"}
LIGHT = (
    "trainer.core.schema",
    "trainer.core.events",
    "trainer.core.files",
    "trainer.job.config",
    "trainer.job.file",
    "trainer.job.importers.kohya_gui",
    "trainer.job.importers.simpletuner",
    "trainer.job.run",
    "app.reference",
    "app.runner",
    "app.cli",
    "app.batch",
    "app.queueing",
    "app.queue.worker",
    "app.settings",
)
PLUGINS = ("trainer/families", "trainer/adapters", "trainer/optimizers", "analysis/metrics")
SPECS = list(describe(JobConfig))


def code(*rooms: str) -> list[Path]:
    return [file for room in rooms for file in sorted((ROOT / room).rglob("*.py"))]


def shipped() -> list[Path]:
    return [ROOT / "start.py", *code(*ROOMS, "presets", "benchmarks", "assets")]


def ours() -> list[Path]:
    return [*shipped(), *code("tests")]


@functools.cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def calls(file: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree(file)) if isinstance(node, ast.Call))


def place(file: Path, node: ast.AST) -> str:
    return f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def by_path(spec: FieldSpec) -> str:
    return f"{spec.path}[{spec.only_if[1]}]" if spec.only_if else spec.path


# Importing stays light


@pytest.mark.parametrize("module", [m for m in LIGHT if importlib.util.find_spec(m)])
def test_importing_it_does_not_import_torch(module):
    line = f"import sys, {module}; print(*({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_a_job_is_read_and_described_without_torch():
    line = (
        "import sys; from trainer.job.config import JobConfig;"
        "from trainer.core.schema import describe;"
        "JobConfig.model_validate({'dataset': {'folder': 'x'}}); list(describe(JobConfig));"
        f"print(*({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == ([], "")


# Settings explain themselves


@pytest.mark.parametrize("spec", SPECS, ids=by_path)
def test_a_setting_is_explained_in_whole_sentences(spec):
    assert spec.help.strip().endswith("."), f"{spec.path} needs a docstring of whole sentences"
    assert spec.help[0].isupper() or spec.help[0] in "`0123456789"


@pytest.mark.parametrize("spec", SPECS, ids=by_path)
def test_a_default_has_a_reason(spec):
    empty = spec.default in (None, "", ())
    chooses_plugin = spec.path.endswith(".kind") and spec.only_if is None and spec.choices
    if spec.required or empty or chooses_plugin or spec.path in ("version", "name"):
        return
    assert spec.knob.why or spec.knob.private, f"{spec.path} needs Knob(why=...)"


@pytest.mark.parametrize("spec", [s for s in SPECS if s.kind == "choice"], ids=by_path)
def test_a_default_is_among_the_choices(spec):
    assert spec.default in spec.choices


def test_no_two_settings_of_one_plugin_share_a_path():
    seen = [(spec.path, spec.only_if) for spec in SPECS]
    assert len(seen) == len(set(seen))


# Documents follow the code


@pytest.mark.parametrize(
    ("name", "render"),
    [
        ("settings.md", reference.render),
        ("importing.md", reference.importing_page.render),
        ("metrics.md", reference.render_metrics),
        ("job.schema.json", reference.render_schema),
    ],
)
def test_the_reference_is_up_to_date(name, render):
    stored = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert stored == render(), "run: python -m app.reference"


def test_exit_codes_in_the_docs_are_those_of_the_classes():
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", (ROOT / "docs/exit-codes.md").read_text(), re.M)
    kinds = {kind.__name__: kind.exit_code for kind in errors.UserError.__subclasses__()}
    plain = {name: getattr(errors, name) for name in ("COMPLETED", "BUG", "UNDECIDED", "STOPPED")}
    assert {name: int(number) for number, name in rows} == kinds | plain


def test_every_event_and_its_fields_are_in_the_docs():
    rows = (ROOT / "docs/run-folder.md").read_text(encoding="utf-8").splitlines()
    for name, kind in events.KINDS.items():
        (row,) = [row for row in rows if row.startswith(f"| `{name}` |")]
        assert [f.name for f in fields(kind) if f"`{f.name}`" not in row] == [], row


def test_no_two_errors_share_an_exit_code():
    codes = [kind.exit_code for kind in errors.UserError.__subclasses__()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("file", sorted(ROOT.glob("docs/**/*.md")), ids=lambda f: f.name)
def test_links_between_documents_lead_somewhere(file):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", file.read_text(encoding="utf-8"))
    assert [link for link in links if not (file.parent / link).exists()] == []


# Code


@pytest.mark.parametrize("file", code(*ROOMS), ids=lambda f: str(f.relative_to(ROOT)))
def test_a_file_is_short_enough_to_read(file):
    lines = file.read_text(encoding="utf-8").count("\n")
    assert lines <= 300


def test_nothing_runs_through_a_shell():
    shells = [
        place(file, call)
        for file in ours()
        for call in calls(file)
        if any(k.arg == "shell" for k in call.keywords)
        or ast.unparse(call.func) in ("os.system", "os.popen")
    ]
    assert shells == []


def test_nothing_is_unpickled():
    imports = [
        place(file, node)
        for file in shipped()
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and {"pickle", "dill", "shelve", "cloudpickle", "joblib"}
        & {getattr(node, "module", None), *(alias.name for alias in node.names)}
    ]
    loads = [
        place(file, call)
        for file in shipped()
        for call in calls(file)
        if (ast.unparse(call.func) == "torch.load" and "weights_only=True" not in ast.unparse(call))
        or "allow_pickle=True" in ast.unparse(call)
    ]
    assert imports + loads == []


@pytest.mark.parametrize("package", PLUGINS)
def test_plugins_do_not_import_each_other(package):
    files = [f for f in (ROOT / package).glob("*.py") if ".add\n" in f.read_text(encoding="utf-8")]
    modules = {f"{package.replace('/', '.')}.{file.stem}" for file in files}
    crossings = [
        place(file, node)
        for file in files
        for node in ast.walk(tree(file))
        if isinstance(node, ast.ImportFrom) and node.module in modules
    ]
    assert crossings == []


def test_no_file_names_a_registry_or_somebodys_machine():
    forbidden = re.compile(
        r"pypi\.(org|python)|pythonhosted\.|download\.pytorch|(?<![\w.])/(home|Users|root|work)/\w"
    )
    this = Path(__file__).resolve()
    texts = [*ours(), *ROOT.glob("docs/**/*.*"), *ROOT.glob("*.*"), ROOT / ".ci/run"]
    found = [
        f"{file.relative_to(ROOT)}: {match[0]}"
        for file in texts
        if file.is_file() and file.name != ".git" and file != this and file.suffix != ".png"
        for match in forbidden.finditer(file.read_text(encoding="utf-8", errors="replace"))
    ]
    assert found == []


# The models that other tests train


def test_the_tiny_model_encodes_and_has_a_loss_for_each_picture(tiny_sd):
    import torch

    from trainer.core.batch import Batch
    from trainer.core.device import plan
    from trainer.families.sd import SdConfig

    torch.manual_seed(0)
    model = SdConfig(base=str(tiny_sd)).load(plan("cpu", "fp32"))
    captions = ("a photo of sks fox", "red dog, ü", "")
    pixels = torch.rand(3, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        moments = model.encode_images(pixels)
        conditioning = model.encode_captions(captions)
    latents = moments[:, 0]
    batch = Batch(
        names=("1", "2", "3"),
        captions=captions,
        latents=latents,
        noise=torch.randn_like(latents),
        times=torch.tensor([10, 500, 990]),
        weights=torch.full((3,), 1 / 3),
        frames=torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 3),
        conditioning=conditioning,
    )
    assert moments.shape == (3, 2, 4, 32, 32)
    assert conditioning["encoder_hidden_states"].shape == (3, 77, 32)
    with torch.no_grad():
        losses = model.losses(batch)
    assert losses.shape == (3,)
    assert torch.isfinite(losses).all()


def test_the_tiny_velocity_model_says_so(tiny_sd_v):
    from trainer.core.device import plan
    from trainer.families.sd import SdConfig

    model = SdConfig(base=str(tiny_sd_v)).load(plan("cpu", "fp32"))
    assert model.prediction == "v_prediction"


def test_pictures_come_with_captions(pictures):
    folder = pictures(count=3, size=(48, 32))
    assert sorted(f.name for f in folder.iterdir()) == [
        f"{number:02}.{kind}" for number in range(3) for kind in ("png", "txt")
    ]
