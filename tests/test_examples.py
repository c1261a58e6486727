"""The notebook and the page about Python do what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.conftest import write_pictures
from tests.trainer.training import tiny_job
from trainer import Run, render_job, runs_in

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(ROOT.glob("docs/examples/*.ipynb"))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.name)
def test_a_notebook_is_stored_without_its_outputs(file):
    stored = json.loads(file.read_text(encoding="utf-8"))
    cells = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert [c["id"] for c in cells if c["outputs"] or c["execution_count"] is not None] == []
    assert set(stored["metadata"]) == {"kernelspec", "language_info"}
    assert stored["metadata"]["language_info"] == {"name": "python"}


@pytest.mark.filterwarnings("default")  # what Jupyter's own libraries warn of is theirs
def test_the_notebook_trains_shows_and_says_which_to_keep(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("RUNTIME", "DATA", "CONFIG"):
        monkeypatch.setenv(f"JUPYTER_{name}_DIR", str(tmp_path / name))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    book = nbformat.read(ROOT / "docs/examples/first_lora.ipynb", as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(book, timeout=600, kernel_name="python3", resources=place).execute()
    outputs = {cell["id"]: cell.get("outputs", []) for cell in book.cells}
    told = {
        name: "".join(o["text"] for o in shown if o.get("name") == "stdout")
        for name, shown in outputs.items()
    }
    (run,) = runs_in(tmp_path / "runs")
    assert run.status() == "completed"
    assert "step 12: loss" in told["run"]
    assert (
        "completed ['first-lora-e0006.safetensors', 'first-lora-e0012.safetensors']" in told["run"]
    )
    assert any("image/png" in shown.get("data", {}) for shown in outputs["grid"])
    (report,) = run.path.glob("analysis/*/report.json")
    headline = json.loads(report.read_text(encoding="utf-8"))["verdict"]["headline"]
    assert told["verdict"].splitlines()[0] == headline
    assert "report.html" in told["verdict"]


def test_every_block_of_the_page_about_python_runs(tiny_sd, tmp_path, monkeypatch, capsys):
    write_pictures(tmp_path / "foxes", 4, (64, 64))
    words = {"prompts": ["a photo of sks fox"], "plain_prompts": ["a cat"]}
    quick = {"strengths": [1.0], "steps": 2, "seeds": 2, "fine": False, **words}
    changes = {"schedule": {"epochs": 1}, "analysis": quick}
    job = tiny_job(tiny_sd, tmp_path / "foxes", tmp_path / "runs", **changes)
    (tmp_path / "fox.toml").write_text(render_job(job), encoding="utf-8")
    (tmp_path / "ink.toml").write_text("[adapter]\nrank = 16\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/python-api.md").read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(compile(block, "docs/python-api.md", "exec"), names)
    said = capsys.readouterr().out
    assert "2 ['fox.toml']" in said
    assert "adapter.ranc" in said
    run = names["run"]
    assert isinstance(run, Run)
    assert run.status() == "completed"
