"""`sweetspot app` as a person starts it: processes, ports, and what they say."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app import doors
from app.splash import Splash

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": "127.0.0.1"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


@pytest.fixture
def free_port():
    with doors.listening(0) as bound:
        return bound.getsockname()[1]


@pytest.fixture
def browser(tmp_path):
    """A browser that notes what it was asked to open."""
    program = tmp_path / "browser"
    program.write_text(f'#!/bin/sh\necho "$1" >> "{tmp_path}/opened"\n')
    program.chmod(0o755)
    return tmp_path / "opened"


@pytest.fixture
def start(home, runs, browser, tmp_path):
    """`start("--port", "0")`: the app's process and the file that it speaks to."""
    begun = []

    def begin(*arguments):
        said = tmp_path / f"said-{len(begun)}"
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "BROWSER": f"{browser.with_name('browser')} %s",
        }
        with said.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "app", "app", "--runs", str(runs), *arguments],
                env=env,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=tmp_path,
            )
        begun.append(process)
        return process, said

    yield begin
    for process in begun:
        process.kill()
        process.wait()


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            found = condition()
        except OSError:
            found = None
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come")


def serves(port):
    return lambda: get(port, "/hello")[0] == 200


def test_the_splash_is_there_before_the_app_and_the_browser_is_opened_on_it_once(
    start, free_port, browser
):
    process, said = start("--port", str(free_port))
    status, text = wait_for(lambda: get(free_port, "/"))
    if status == 200:  # else the app was faster
        assert "Sweetspot is starting" in text
    wait_for(serves(free_port))
    assert wait_for(browser.read_text) == f"http://127.0.0.1:{free_port}\n"
    assert get(free_port, "/home")[0] == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert said.read_text().endswith("Sweetspot is closed.\n")
    assert list(doors.noted()) == []
    assert browser.read_text().count("\n") == 1


def test_a_second_start_shows_the_first_one(start, free_port, browser):
    process, _ = start("--port", str(free_port), "--no-browser")
    wait_for(serves(free_port))
    second, said = start("--port", str(free_port))
    assert second.wait(60) == 0
    assert "open already" in said.read_text()
    assert wait_for(browser.read_text) == f"http://127.0.0.1:{free_port}\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def test_a_port_of_another_program_is_left_to_it(start, browser):
    with doors.listening(0) as other:
        port = other.getsockname()[1]
        _, said = start("--port", str(port), "--no-browser")
        wait_for(lambda: "Sweetspot is at" in said.read_text())
    assert f"The port {port} is taken by another program" in said.read_text()
    assert f"http://127.0.0.1:{port} " not in said.read_text()


def test_a_server_that_was_killed_is_not_taken_for_one(start, free_port):
    process, _ = start("--port", str(free_port), "--no-browser")
    wait_for(serves(free_port))
    process.kill()
    process.wait()
    assert [server.port for server in doors.noted()] == [free_port]
    assert doors.running(Path(next(doors.noted()).runs)) is None
    start("--port", str(free_port), "--no-browser")
    wait_for(serves(free_port))


def test_who_closes_it_is_told_what_goes_on(start, runs, free_port, tiny_sd, pictures):
    from tests.trainer.training import tiny_job
    from trainer.job.run import Run

    run = Run.create(tiny_job(tiny_sd, pictures(count=2), runs))
    run.claim()  # as a worker does
    process, said = start("--port", str(free_port), "--no-browser")
    wait_for(serves(free_port))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert f"{run.path.name} goes on" in said.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "0.0.0.0"], "no password is set"),
        (["--listen", "0.0.0.0", "--password", "short"], "can be guessed"),
        (["--listen", "203.0.113.9", "--password", "long enough"], "nothing can listen"),
        (["--port", "70000"], "65535"),
    ],
)
def test_what_is_not_safe_or_not_possible_is_refused(start, arguments, words):
    process, said = start("--no-browser", *arguments)
    assert process.wait(60) != 0
    assert words in said.read_text()
    assert "Traceback" not in said.read_text()


def test_a_password_is_drawn_and_told_once_and_there_is_a_warning(start, free_port):
    process, said = start(
        "--listen", "127.0.0.1", "--password", "new", "--no-browser", "--port", str(free_port)
    )
    wait_for(serves(free_port))
    wait_for(lambda: "warning" in said.read_text())
    assert "The password is" in said.read_text()
    assert get(free_port, "/api/now")[0] == 401
    process.terminate()
    assert process.wait(20) == 0


# The splash


def test_the_splash_says_what_is_done_and_hands_its_socket_over():
    bound = doors.listening(0)
    port = bound.getsockname()[1]
    splash = Splash(bound, "Installing torch")
    try:
        status, text = get(port, "/anything")
        assert status == 200
        assert "<script src=" in text
        assert get(port, "/hello") == (503, "Installing torch")
        splash.words = "Checking"
        assert get(port, "/hello") == (503, "Checking")
        assert get(port, "/splash.js")[0] == 200
    finally:
        assert splash.end() is bound
        bound.close()


def test_a_port_in_use_gives_the_next_one():
    with doors.listening(0) as first:
        port = first.getsockname()[1]
        with pytest.raises(doors.TakenError):
            doors.listening(port)
        with doors.free(port) as second:
            assert second.getsockname()[1] != port


@pytest.mark.parametrize("text", ["", "{", "[]", '{"port": 1}', "\0"])
def test_a_damaged_note_of_a_server_is_passed_over(home, text):
    (home / "servers").mkdir(parents=True)
    (home / "servers" / "7860.json").write_text(text)
    assert list(doors.noted()) == []


def test_the_splash_needs_nothing_that_is_installed():
    line = "import sys, app.splash; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-ISc", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {line}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not {"pydantic", "typer", "fastapi", "platformdirs"} & set(done.stdout.split())


@pytest.mark.skipif(not shutil.which("sh"), reason="needs sh")
def test_names_of_an_address_are_this_machines_own():
    from app.ui.serve import names_of

    assert names_of("127.0.0.1") >= {"127.0.0.1", "localhost"}
    assert "*" not in names_of("0.0.0.0")
    assert names_of("192.0.2.7") >= {"192.0.2.7"}
    assert "localhost" not in names_of("192.0.2.7")
