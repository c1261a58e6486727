"""The API that programs drive the app by."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

import pytest

ENDED = ("completed", "stopped", "failed", "died")


def ask(url, **headers):
    """Status and headers of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers


@pytest.fixture
def client(server):
    """A client of the server, once its API is there."""
    from gradio_client import Client

    until = time.monotonic() + 120
    while ask(f"{server}/gradio/config")[0] == 503 and time.monotonic() < until:
        time.sleep(0.2)
    return Client(f"{server}/gradio", verbose=False)


@pytest.fixture
def call(client):
    """`call("train", ...)`: what an endpoint answers."""
    return lambda name, *values: client.predict(*values, api_name=f"/{name}")


def wait(call, name):
    until = time.monotonic() + 600
    told = call("status", name)
    while told["status"] not in ENDED and time.monotonic() < until:
        time.sleep(0.3)
        told = call("status", name)
    return told


def test_until_it_is_there_it_says_when_to_ask_again(server):
    status, headers = ask(f"{server}/gradio/config")
    if status != 200:  # another test of this process may have imported it
        assert (status, headers["Retry-After"]) == (503, "5")
    assert ask(f"{server}/home")[0] == 200


@pytest.mark.filterwarnings("default")
def test_a_lora_is_trained_analysed_and_tried_by_a_program(call, runs, tiny_sd, pictures):
    from app.generate.studio import Studio

    settings = {
        "name": "fox",
        "model.base": str(tiny_sd),
        "model.resolution": 64,
        "dataset.folder": str(pictures(count=4)),
        "dataset.bucket_step": 16,
        "adapter.rank": 2,
        "schedule.epochs": 2,
        "compute.device": "cpu",
        "compute.precision": "fp32",
        "samples.every": 0,
        "analysis.prompts": ["a fox"],
        "analysis.steps": 2,
        "analysis.seeds": 1,
        "analysis.strengths": [0.5, 1.0],
        "analysis.metrics": ["ssim", "fidelity"],
        "analysis.judge": False,
    }
    run = call("train", settings, "")["name"]
    told = wait(call, run)
    assert (told["status"], told["files"]) == ("completed", 2), told

    sweep = call("analyse", run, {"analysis.fine": False})["name"]
    assert wait(call, sweep)["status"] == "completed"
    verdict = call("verdict", run)
    assert verdict["headline"]
    assert [work["name"] for work in call("works", 5)] == [run, sweep]

    lora = sorted((runs / run / "lora").glob("*.safetensors"))[-1]
    uses = [{"file": str(lora), "strength": 0.8}]
    made = call("generate", "a fox", uses, {"pictures": 2, "seed": 5}, 600)
    assert (made["status"], [one["seed"] for one in made["pictures"]]) == ("completed", [5, 6])
    assert all(ask_file(one["file"]) for one in made["pictures"])
    long = call("generate", "a fox", [], {"base": str(tiny_sd), "pictures": 64}, 0)
    call("stop", long["name"])
    assert wait(call, long["name"])["status"] == "stopped"
    Studio.below(runs).ask_to_stop()


def ask_file(path):
    with open(path, "rb") as file:  # noqa: PTH123 - as a program would
        return file.read(8) == b"\x89PNG\r\n\x1a\n"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_what_the_docs_show_works(client, server, runs):
    import re
    from pathlib import Path

    from app.generate.studio import Studio

    page = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
        code = block.replace("http://127.0.0.1:7860", server)
        exec(compile(code, "docs/api.md", "exec"), names)
    assert [picture["seed"] for picture in names["made"]["pictures"]] == [7, 8]
    Studio.below(runs).ask_to_stop()


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("status", ["nothing"], "no run folder"),
        ("status", ["../../etc"], "no run of the runs folder"),
        ("status", ["generated/../../etc"], "no longer there"),
        (
            "train",
            [{"dataset.folder": "/x", "schedule.epoch": 3}, ""],
            "did you mean schedule.epochs",
        ),
        ("train", [{"a b": 1}, ""], "no such setting"),
        ("train", [{"schedule.epochs": None}, ""], "needs a text"),
        ("train", [{}, "no-such-preset"], "no preset"),
        ("generate", ["", [], {}, 0], "nothing says what to render"),
        ("generate", ["a", [{"file": "/etc/passwd"}], {}, 0], "safetensors"),
        ("generate", ["a", [], {"sed": 1}, 0], "sed"),
        ("verdict", ["nothing"], "no run folder"),
        ("stop", ["nothing"], "no run folder"),
    ],
)
def test_what_cannot_be_done_is_told_in_words(call, name, values, said):
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError, match=said):
        call(name, *values)


def test_nothing_but_endpoints_is_reached_through_gradio(client, server, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    for path in (
        "gradio_api/file=/etc/passwd",
        f"gradio_api/file={tmp_path / 'secret.txt'}",
        "gradio_api/file=README.md",
        "gradio_api/upload",
        "gradio_api/proxy=http://127.0.0.1/",
        "gradio_api/vibe-code",
        "gradio_api/run-history/buckets",
        "monitoring",
        "file=/etc/passwd",
        "static/../../../etc/passwd",
    ):
        assert ask(f"{server}/gradio/{path}")[0] in (403, 404), path
    assert ask(f"{server}/gradio/config", Origin="http://evil.example")[0] == 403
    assert ask(f"{server}/gradio/config", Host="evil.example")[0] == 403


@pytest.mark.ui
def test_its_page_names_every_endpoint_and_asks_no_other_machine(client, visit):
    page = visit("/gradio/", ready=False)
    for name in ("train", "analyse", "status", "verdict", "generate", "stop", "works"):
        page.get_by_text(f"/{name}", exact=True).wait_for()
