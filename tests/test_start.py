"""start.py, run for real on a tiny project of the same shape that needs no network."""

import ast
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

START = Path(__file__).resolve().parents[1] / "start.py"
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "sweetspot"
version = "0"

[project.optional-dependencies]
dev = []
"""
BACKEND = """
import pathlib
import zipfile

INFO = "sweetspot-0.dist-info"


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "sweetspot-0-py3-none-any.whl"
    files = {
        "sweetspot.pth": str(pathlib.Path.cwd()),
        f"{INFO}/METADATA": "Metadata-Version: 2.1\\nName: sweetspot\\nVersion: 0\\n"
        "Provides-Extra: dev\\n",
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{INFO}/RECORD": "",
    }
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"""
APP = """
import sys
import time

print("sweetspot", *sys.argv[1:], flush=True)
if sys.argv[1:] == ["wait"]:
    time.sleep(60)
sys.exit(75 if sys.argv[1:] == ["stop"] else 0)
"""
CHECK = """
import os
import sys

print("check", os.environ["HF_HUB_OFFLINE"], *sys.argv[1:])
"""
TORCH = """
__version__ = "9.9"


class version:
    cuda = None


class cuda:
    is_available = staticmethod(bool)
"""
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX processes")


def start(project: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    tools = {"PATH": os.pathsep.join((os.defpath, "/usr/bin")), "PIP_CONFIG_FILE": os.devnull}
    line = [sys.executable, "start.py", *arguments]
    return subprocess.run(
        line, cwd=project, env={**os.environ, **tools, **env}, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a place") / "Sweet spot"
    files = {
        "pyproject.toml": PYPROJECT,
        "backend.py": BACKEND,
        "app/__init__.py": "",
        "app/__main__.py": APP,
        "tests/__init__.py": "",
        "tests/check.py": CHECK,
        "torch.py": TORCH,
        "diffusers.py": "",
        "peft.py": "",
        "transformers.py": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy(START, folder)
    done = start(folder, "setup")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("start", START)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_an_old_python_can_read_the_sentence_that_refuses_it():
    ast.parse(START.read_text(encoding="utf-8"), feature_version=(3, 7))


def test_the_second_start_is_at_once(project):
    before = time.monotonic()
    done = start(project, "setup")
    assert time.monotonic() - before < 2
    assert (done.returncode, done.stderr) == (0, "")
    assert "Installing" not in done.stdout


def test_arguments_are_passed_on(project):
    assert start(project, "train", "my job.toml").stdout == "sweetspot train my job.toml\n"


def test_without_arguments_it_opens_the_app(project):
    assert start(project).stdout == "sweetspot app\n"
    assert start(project, "--window").stdout == "sweetspot app --window\n"


@posix
def test_a_set_up_is_shown_in_the_browser_while_it_goes_on(project, tmp_path):
    """And the app then answers where the browser waits."""
    for name in ("app/splash.py", "app/doors.py", "app/home.py", "assets/ui/splash.html"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(START.parent / name, project / name)
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\ncurl -s "$1" > "{tmp_path}/page"\n', encoding="utf-8")
    browser.chmod(0o755)
    (project / ".venv" / "sweetspot-ready.json").unlink()
    home = {"SWEETSPOT_HOME": str(tmp_path), "BROWSER": f"{browser} %s"}
    done = start(project, **home)
    assert "3/3 Checking" in done.stdout, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("sweetspot app --no-browser --port ")
    assert "Sweetspot is starting" in (tmp_path / "page").read_text(encoding="utf-8")


def test_the_exit_code_is_passed_on(project):
    assert start(project, "stop").returncode == 75


def test_relative_paths_stay_those_of_the_caller(project, tmp_path):
    (tmp_path / "app.py").write_text("raise SystemExit('the wrong app')", encoding="utf-8")
    line = [sys.executable, str(project / "start.py"), "here"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "sweetspot here\n"


@posix
def test_signals_reach_the_app(project):
    line = [sys.executable, "start.py", "wait"]
    with subprocess.Popen(line, cwd=project, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "sweetspot wait\n"
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=10) == -signal.SIGTERM


def test_the_checks_run_offline_with_their_arguments(project):
    assert start(project, "test", "-k", "cache").stdout.endswith("check 1 -k cache\n")


def test_only_a_change_of_what_is_installed_installs_again(project):
    pyproject = project / "pyproject.toml"
    pyproject.write_text(PYPROJECT + "\n[tool.ruff]\nline-length = 99\n", encoding="utf-8")
    assert "Installing" not in start(project, "setup").stdout
    pyproject.write_text(PYPROJECT + "more = []\n", encoding="utf-8")
    assert "2/3 Installing" in start(project, "setup").stdout
    assert "Installing" not in start(project, "setup").stdout


def test_a_set_up_that_was_cut_off_is_finished(project):
    (record,) = project.glob(".venv/**/sweetspot-0.dist-info/RECORD")
    record.unlink()
    (project / ".venv/sweetspot-ready.json").unlink()
    (project / ".venv/sweetspot-installing").write_text("4194304 4194305", encoding="utf-8")
    done = start(project, "setup")
    assert done.returncode == 0
    assert "was cut off" in done.stdout
    assert "sweetspot was left half installed" in done.stdout
    assert record.is_file()
    assert not (project / ".venv/sweetspot-installing").exists()


def test_two_set_ups_do_not_work_in_one_environment(project):
    stamp, marker = project / ".venv/sweetspot-ready.json", project / ".venv/sweetspot-installing"
    kept = stamp.read_text(encoding="utf-8")
    stamp.unlink()
    marker.write_text(str(os.getpid()), encoding="utf-8")
    done = start(project, "setup")
    marker.unlink()
    stamp.write_text(kept, encoding="utf-8")
    assert done.returncode == 6
    assert "Another set-up is at work here" in done.stderr


@posix
def test_an_environment_whose_python_is_gone_is_made_anew(project):
    python = project / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python")
    done = start(project, "setup")
    assert done.returncode == 0, done.stderr
    assert "1/3 Making .venv" in done.stdout


def test_setup_makes_an_environment_anew_that_does_not_start_any_more(project):
    for link in project.glob(".venv/**/sweetspot.pth"):
        link.unlink()
    done = start(project, "setup")
    assert done.returncode == 0, done.stderr
    assert "does not start any more" in done.stderr
    assert "1/3 Making .venv" in done.stdout


def test_setup_takes_the_extras_of_the_project_and_no_other(project):
    assert start(project, "setup", "dev").returncode == 0
    done = start(project, "setup", "dve")
    assert done.returncode == 6
    assert "There is no extra 'dve'; there are dev" in done.stderr


@posix
def test_a_card_that_torch_cannot_use_is_named_with_the_cure(project, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    tool.chmod(0o755)
    (project / ".venv/sweetspot-ready.json").unlink()
    done = start(project, "setup", PATH=os.pathsep.join((str(tmp_path), os.defpath)))
    assert done.returncode == 0, done.stderr
    assert "was built without CUDA" in done.stderr
    assert "--reinstall --torch-backend=auto torch" in done.stderr


def test_without_a_network_it_says_so_in_a_sentence(project):
    pyproject = project / "pyproject.toml"
    kept = pyproject.read_text(encoding="utf-8")
    pyproject.write_text(kept.replace("requires = []", 'requires = ["hatchling"]'), "utf-8")
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    done = start(project, "setup", **nowhere, PIP_FIND_LINKS="", PIP_EXTRA_INDEX_URL="")
    pyproject.write_text(kept, encoding="utf-8")
    assert done.returncode == 6
    assert done.stderr.splitlines()[-1].startswith("sweetspot: The package registry cannot be")
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_refused_before_anything_is_made(module, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=3e9))
    with pytest.raises(module.SetupError, match=r"needs about 8 GB, and this disk has 3\.0 GB"):
        module.check_disk()


def test_debian_is_told_which_package_is_missing(module, monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(module.SetupError, match="sudo apt install python3-venv"):
        module.make_environment(None)
