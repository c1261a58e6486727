"""Sets Sweetspot up in a folder of its own, `.venv`, and starts it.

    python start.py             open the app in the browser; a double click does the same
    python start.py --window    open it in a window of its own
    python start.py demo        train a LoRA on the model that ships with Sweetspot
    python start.py setup       set up, check that it works, mend what does not
    python start.py setup cuda  the same, with an extra of pyproject.toml (8-bit optimizers)
    python start.py test        set up for developers and run every check
    python start.py ARGS...     the same as `sweetspot ARGS...`

It knows nothing of training: it makes the environment, says what it does, mends an
environment that was killed half-way, and hands over. Standard library only; the lines up
to the version check are written so that an old Python can read them and say what it lacks.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if sys.version_info < (3, 11):  # noqa: UP036 - the one place where an older Python may arrive
    sys.exit("Sweetspot needs Python 3.11 or newer, and this is {}.{}.".format(*sys.version_info))

import tomllib

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
WINDOWS = os.name == "nt"
PYTHON = VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")
STAMP = VENV / "sweetspot-ready.json"
"""What was installed; written last, so that its presence means a whole environment."""
MARKER = VENV / "sweetspot-installing"
"""The processes that are installing; left behind when they are killed."""
DISK_NEEDED = 8e9
FAILED = 6
"""Exit code of a set-up that could not be done (docs/exit-codes.md)."""

PIP_PROBLEMS = {
    "No space left on device": "The disk filled up: of this folder, or of the one for temporary "
    "files. Free some space (set TMPDIR to use another disk), then run this again.",
    "CERTIFICATE_VERIFY_FAILED": "The package registry's certificate was refused. A proxy that "
    "reads traffic may need its certificate named in PIP_CERT.",
    "onnection": "The package registry cannot be reached. Check the network (or the proxy "
    "settings), then run this again: what is downloaded is kept.",
    "imed out": "The package registry did not answer in time. Run this again: what is "
    "downloaded is kept.",
    "No matching distribution found": "The package registry cannot be reached, or has nothing for "
    "this Python ({python}). Check the network; if it works, try Python 3.12 or 3.13.",
    "Permission denied": "A file may not be written. Is this folder yours?",
}
PROBE = (
    "import diffusers, peft, torch, transformers;"
    "print(torch.__version__, torch.version.cuda, torch.cuda.is_available())"
)


class SetupError(Exception):
    """Set-up cannot go on; the text says what to do."""


def main(arguments: list[str]) -> int:
    """Set up what the arguments need, then become them."""
    if not arguments:
        os.chdir(ROOT)  # wherever a double click begins, the runs are the same
    if not arguments or arguments[0] == "--window":
        arguments = ["app", *arguments]
    command, rest = arguments[0], arguments[1:]
    try:
        set_up(asked_extras(command, rest), thorough=command == "setup", shown=arguments == ["app"])
    except SetupError as problem:
        say(str(problem), error=True)
        time.sleep(2 if splashes else 0)  # the page reads it too
        return FAILED
    except KeyboardInterrupt:
        say("Stopped. The next start goes on from here.", error=True)
        return 130
    if command == "setup":
        say("Ready. Try: python start.py demo")
        return 0
    if command == "test":
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.chdir(ROOT)
        return hand_over(["-m", "tests.check", *rest])
    for splash in splashes:  # the browser is open already, and waits for the app at this port
        port = splash.end()
        rest = ["--no-browser", "--port", str(port.getsockname()[1])]
        port.close()
    return hand_over(["-P", "-m", "app", command, *rest])


def hand_over(arguments: list[str]) -> int:
    """Run the environment's Python in place of this process, so that signals reach it."""
    line = [str(PYTHON), *arguments]
    sys.stdout.flush()
    if not WINDOWS:
        os.execv(PYTHON, line)
    with subprocess.Popen(line) as child:
        while True:
            with contextlib.suppress(KeyboardInterrupt):  # the child has its own Ctrl+C
                return child.wait()


def asked_extras(command: str, rest: list[str]) -> set[str]:
    """The extras of pyproject.toml that a command needs."""
    if command != "setup":
        return {"dev"} if command == "test" else set()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = project.get("optional-dependencies", {})
    strange = [extra for extra in rest if extra not in known]
    if strange:
        raise SetupError(f"There is no extra '{strange[0]}'; there are {', '.join(known)}.")
    return set(rest)


def set_up(extras: set[str], *, thorough: bool = False, shown: bool = False) -> None:
    """Bring `.venv` in line with pyproject.toml; at once when it is, unless thorough.

    Where it takes a while and is `shown`, a page in the browser says what is done.
    """
    version = environment_version()
    stamp = read_stamp()
    wanted = {"project": project_hash(), "root": str(ROOT), "python": version}
    uv = shutil.which("uv")
    if {k: stamp.get(k) for k in wanted} == wanted and extras <= set(stamp["extras"]):
        if not thorough or starts(uv):
            return
        remove(VENV)
        version = None
    extras = extras | set(stamp.get("extras", []))
    if shown:
        show_splash()
    refuse_a_second_set_up()
    check_disk()
    if version is None:
        make_environment(uv)
    with installing():
        mend_half_installed()
        say("2/3 Installing Sweetspot and what it needs; torch is the largest part.")
        install(uv, extras)
        say("3/3 Checking that it starts.")
        check(uv)
        wanted["python"] = environment_version()
        write_stamp({**wanted, "extras": sorted(extras)})


def say(text: str, *, error: bool = False) -> None:
    """One line for the person who waits."""
    for splash in splashes:
        splash.words = text
    print(f"sweetspot: {text}", file=sys.stderr if error else sys.stdout, flush=True)


splashes: list[Any] = []
"""The page that is shown while the set-up is at work."""


def show_splash() -> None:
    """Open the browser on a page that says what the set-up does; without one, the terminal does."""
    with contextlib.suppress(ImportError, OSError):
        from app import doors
        from app import splash as page

        splashes.append(page.Splash(doors.free(page.saved_port())))
        page.show(splashes[0].url)


def starts(uv: str | None) -> bool:
    """Whether an environment that should be whole works."""
    try:
        check(uv)
    except SetupError:
        say("What is in .venv does not start any more; it is made anew.", error=True)
        return False
    return True


# The environment


def environment_version() -> str | None:
    """The version of `.venv`'s Python, such as "3.12"; None when it does not work."""
    config = VENV / "pyvenv.cfg"
    ask = [str(PYTHON), "-ISc", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        made_for = config.read_text(encoding="utf-8")
        version = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return version if f"= {version}." in made_for and int(version[2:]) >= 11 else None


def make_environment(uv: str | None) -> None:
    """A fresh `.venv` on the Python that runs this file."""
    if uv is None and not all(map(importlib.util.find_spec, ("venv", "ensurepip"))):
        raise SetupError(
            "This Python came without its venv module. On Debian or Ubuntu: "
            "sudo apt install python3-venv. Then run this again."
        )
    if VENV.exists():
        say("The environment in .venv does not work (Python moved, or set-up was cut off).")
        remove(VENV)
    say(f"1/3 Making .venv with Python {sys.version.split()[0]}.")
    python = getattr(sys, "_base_executable", None) or sys.executable
    line = [uv, "venv", "--python", python] if uv else [python, "-m", "venv"]
    done = subprocess.run([*line, str(VENV)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"Python could not make {VENV}:\n{done.stdout}{done.stderr}".rstrip())


def remove(folder: Path) -> None:
    """Delete a folder, or say what is in the way."""
    try:
        folder.unlink() if folder.is_symlink() else shutil.rmtree(folder)
    except OSError as error:
        raise SetupError(f"{error.filename} cannot be deleted; close what uses it.") from error


def mend_half_installed() -> None:
    """Forget packages whose installation was cut off.

    Installers write RECORD last, but take a package for installed when METADATA is there.
    """
    for info in installed("*"):
        if not (info / "RECORD").is_file():
            say(f"{info.name.split('-')[0]} was left half installed; it is installed again.")
            remove(info)


def installed(name: str) -> Iterator[Path]:
    """The records of installed packages whose name matches."""
    place = "Lib/site-packages" if WINDOWS else "lib/python3.*/site-packages"
    return VENV.glob(f"{place}/{name}-*.dist-info")


# Installing


def install(uv: str | None, extras: set[str]) -> None:
    """Install the project editable, with uv when there is one, else with pip."""
    project = f".[{','.join(sorted(extras))}]" if extras else "."
    if uv is None:
        install_with_pip(project)
        return
    line = [uv, "pip", "install", "--python", str(PYTHON), "-e", project]
    if run([*line, "--torch-backend=auto"])[0] == 0:
        return
    say("That did not work; once more with the torch that the package registry has.")
    if run(line)[0]:
        raise SetupError(
            "uv could not install Sweetspot; its own words stand above. Without a network, or "
            "behind a proxy, nothing can be downloaded. What is downloaded is kept: run this again."
        )


def install_with_pip(project: str) -> None:
    """Install with the environment's own pip, and put its failures in plain words."""
    if not any(installed("pip")):
        run([str(PYTHON), "-m", "ensurepip"])
    if sys.platform == "linux" and not has_nvidia_card():
        say(
            "No NVIDIA card is seen, and pip's torch brings 5 GB for one all the same. "
            "With uv on the PATH the small build is chosen."
        )
    line = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "-e", project]
    code, complaint = run(line, listen=True)
    if code:
        known = (cure for sign, cure in PIP_PROBLEMS.items() if sign in complaint)
        python = ".".join(map(str, sys.version_info[:2]))
        cure = next(known, "pip could not install Sweetspot; its own words stand above.")
        raise SetupError(cure.format(python=python))


def run(line: list[str], *, listen: bool = False) -> tuple[int, str]:
    """Run an installer in the project's folder; its exit code, and its stderr if asked for."""
    confusing = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PYTHONHOME", "PYTHONPATH")
    env = {k: v for k, v in os.environ.items() if k not in confusing}
    pipe = subprocess.PIPE if listen else None
    heard: list[str] = []
    with subprocess.Popen(line, cwd=ROOT, env=env, stderr=pipe, text=True, errors="replace") as it:
        MARKER.write_text(f"{os.getpid()} {it.pid}", encoding="utf-8")
        try:
            for text in it.stderr or ():
                heard.append(text)
                sys.stderr.write(text)
            return it.wait(), "".join(heard)
        except BaseException:
            it.terminate()
            raise


def check_disk() -> None:
    """Refuse early rather than fill the disk."""
    free = shutil.disk_usage(ROOT).free
    has_torch = any(installed("torch"))
    if free < (1e9 if has_torch else DISK_NEEDED):
        raise SetupError(
            f"Set-up needs about {DISK_NEEDED / 1e9:.0f} GB, and this disk has "
            f"{free / 1e9:.1f} GB free. Free some space, or move this folder to another disk."
        )


# One set-up at a time


@contextlib.contextmanager
def installing() -> Iterator[None]:
    """Mark the environment as half-made until the block ends well."""
    STAMP.unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    MARKER.write_text(str(os.getpid()), encoding="utf-8")
    yield
    MARKER.unlink()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def refuse_a_second_set_up() -> None:
    """Leave the environment alone while another set-up is at work in it."""
    if not MARKER.is_file():
        return
    pids = [int(pid) for pid in MARKER.read_text(encoding="utf-8").split()]
    alive = [pid for pid in pids if pid != os.getpid() and is_alive(pid)]
    if alive:
        raise SetupError(
            f"Another set-up is at work here (process {alive[0]}). Wait for it; or, if that "
            f"process is something else, delete {MARKER} and run this again."
        )
    say("The last set-up was cut off; it goes on now.")


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs (a killed one that nobody buried does not)."""
    if WINDOWS:
        line = ["tasklist", "/NH", "/FI", f"PID eq {pid}"]
        return str(pid) in subprocess.run(line, capture_output=True, text=True, check=False).stdout
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):  # Linux says more
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return True


# What stands in .venv, and whether it can use the card


def project_hash() -> str:
    """A hash of what decides the installation; settings of linters do not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = [project.get("build-system"), project["project"], project.get("tool", {}).get("hatch")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_stamp() -> dict[str, Any]:
    """What the last whole set-up installed; empty when there was none."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(stamp: dict[str, Any]) -> None:
    """Write the stamp whole or not at all."""
    temporary = STAMP.with_suffix(".tmp")
    temporary.write_text(json.dumps(stamp), encoding="utf-8")
    temporary.replace(STAMP)


def check(uv: str | None) -> None:
    """Import the heavy parts once, and say it when torch cannot use the card."""
    done = subprocess.run([PYTHON, "-Ic", PROBE], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SetupError(
            f"Everything is installed, but it does not start: {last}\n"
            f"Delete the folder {VENV} and run this again."
        )
    version, cuda, works = done.stdout.split()[-3:]
    say(f"torch {version} works here.")
    if works == "False" and has_nvidia_card():
        say(why_no_cuda(uv, cuda), error=True)


def why_no_cuda(uv: str | None, cuda: str) -> str:
    """Why torch leaves an NVIDIA card unused, and the line that mends it."""
    why = "was built without CUDA" if cuda == "None" else f"needs a newer driver for CUDA {cuda}"
    python = show(str(PYTHON))
    fix = "pip install --reinstall --torch-backend=auto torch"
    if uv:
        lines = [f"uv {fix.replace('install', f'install --python {python}', 1)}"]
    else:
        lines = [f"{python} -m pip install uv", f"{python} -m uv {fix}"]
    return (
        f"There is an NVIDIA card, but this torch {why}, so training would use the CPU.\n"
        "To put the build in that suits the card's driver, run:\n  " + "\n  ".join(lines)
    )


def show(argument: str) -> str:
    """An argument as it has to be typed."""
    return subprocess.list2cmdline([argument]) if WINDOWS else shlex.quote(argument)


def has_nvidia_card() -> bool:
    """Whether nvidia-smi is there and finds a card."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run([tool], capture_output=True, timeout=20, check=False).returncode == 0
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
