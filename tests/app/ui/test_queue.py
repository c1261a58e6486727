"""The page of the queue: what waits and in which order, who works, adding, pausing, bad files."""

from __future__ import annotations

import json
import sqlite3
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.queue import claims, parts
from app.queue.store import Asked, Store
from tests.trainer.training import tiny_job
from trainer.core import toml

pytestmark = pytest.mark.ui


@pytest.fixture
def queue(runs):
    """The folder of the queue that the page shows."""
    return runs / "queue"


@pytest.fixture
def job_text(tiny_sd, pictures, runs) -> str:
    return toml.render(tiny_job(tiny_sd, pictures(count=4), runs), "A job.")


def put(queue: Path, *names: str, kind: Any = "train") -> list[int]:
    with Store(queue) as store:
        return store.add([Asked(name, kind, "auto", str(queue.parent), "{}") for name in names])


def waiting(queue: Path) -> list[str]:
    with Store(queue) as store:
        return [entry.name for entry in store.entries(("queued",))]


def asked(url: str, **body: Any) -> Any:
    content = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return json.loads(error.read())


def until(true, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def test_an_empty_queue_says_what_it_is_for(visit):
    page = visit("/queue")
    page.get_by_role("heading", name="Nothing waits here").wait_for()


def test_jobs_are_moved_by_button_keyboard_and_hand(visit, queue):
    put(queue, "a", "b", "c", "d")
    page = visit("/queue")
    row = page.locator(".jobs li")
    row.nth(3).wait_for()
    page.get_by_role("button", name="Move c up").click()
    until(lambda: waiting(queue) == ["a", "c", "b", "d"])
    page.get_by_role("button", name="Move c up").press("Alt+ArrowUp")
    until(lambda: waiting(queue) == ["c", "a", "b", "d"])
    page.get_by_role("button", name="a", exact=True).press("Alt+End")
    until(lambda: waiting(queue) == ["c", "b", "d", "a"])
    page.wait_for_function("() => document.querySelectorAll('.jobs .name')[3].textContent === 'a'")
    assert page.evaluate("document.activeElement.textContent") == "a"
    row.nth(3).locator(".handle").drag_to(row.nth(0), target_position={"x": 40, "y": 3})
    until(lambda: waiting(queue) == ["a", "c", "b", "d"])


def test_two_tabs_that_move_the_same_job_are_both_told_how_it_stands(visit, queue):
    _, second, _ = put(queue, "a", "b", "c")
    one, other = visit("/queue"), visit("/queue")
    other.locator(".jobs li").nth(2).wait_for()
    one.get_by_role("button", name="Move b up").click()
    other.get_by_role("button", name="Move b up").click()
    until(lambda: waiting(queue) == ["b", "a", "c"])
    for page in (one, other):
        page.wait_for_function("() => document.querySelector('.jobs .name').textContent === 'b'")
    with Store(queue) as store:
        claims.cancel(store, store.find(str(second)))
    one.expected.append("400")
    answer = asked(one.url.replace("/queue", "/api/queue/move"), job=second, how="up")
    assert "does not wait in the queue: it is cancelled" in answer["problem"]


def test_a_cancelled_job_can_be_put_back_and_a_failed_one_says_why(visit, queue):
    put(queue, "a")
    page = visit("/queue")
    page.get_by_role("button", name="Cancel").click()
    ended = page.get_by_role("region", name="Ended")
    ended.get_by_text("a", exact=True).wait_for()
    ended.get_by_role("button", name="Retry", exact=True).click()
    until(lambda: waiting(queue) == ["a"])
    (number,) = put(queue, "b")
    with Store(queue) as store:
        store.database.execute(
            "UPDATE jobs SET state = 'failed', problem = 'there is no picture', hint = 'add some',"
            " ended = 5 WHERE id = ?",
            (number,),
        )
    page.get_by_text("there is no picture").wait_for()
    assert page.get_by_text("Try: add some").is_visible()


def test_jobs_with_several_values_are_named_and_added(visit, queue, job_text):
    page = visit("/queue")
    page.get_by_role("button", name="Add jobs").first.click()
    box = page.get_by_role("dialog", name="Add jobs")
    box.get_by_role("button", name="Text").click()
    box.get_by_label("A job as TOML").fill(job_text)
    box.get_by_text("Try several values").click()
    box.get_by_role("button", name="Add a setting").click()
    box.get_by_label("Setting", exact=True).fill("adapter.rank")
    box.get_by_label("Its values").fill("2, 4, 8")
    box.get_by_text("3 = 3 runs").wait_for()
    page.reload()
    page.locator("body[data-ready=yes]").wait_for(state="attached")
    page.get_by_role("button", name="Add jobs").first.click()
    assert box.get_by_label("Its values").input_value() == "2, 4, 8"
    box.get_by_role("button", name="Add to the queue").click()
    page.locator(".jobs li").nth(2).wait_for()
    assert [name.rpartition("-")[2] for name in waiting(queue)] == ["r2", "r4", "r8"]


def test_what_jobs_take_is_told_before_they_are_added(server, queue, job_text):
    url = f"{server}/api/queue"
    vary = [{"path": "schedule.epochs", "values": "1, 2"}]
    plan = asked(f"{url}/plan", source="text", given=job_text, vary=vary)
    assert plan["count"] == 2
    assert not queue.exists()

    def priced() -> Any:
        return asked(f"{url}/priced?number={plan['pricing']}")

    until(lambda: priced()["ended"], 300)
    one, two = priced()["found"]
    assert two["steps"] == 2 * one["steps"]
    assert one["problem"] == ""


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"source": "text", "given": "[dataset]\nfolder = 'x'\n[adapter]\nrank = 'x'\n"}, "rank"),
        ({"source": "text", "given": "this is = = no toml"}, "the text"),
        ({"source": "text", "given": " "}, "no text"),
        ({"source": "file", "given": "/nowhere/job.toml"}, "no such file"),
        ({"source": "file", "given": "\\\\server\\job.toml"}, "no file was named"),
        ({"source": "run", "given": "../../etc"}, "no run"),
    ],
)
def test_a_job_that_is_wrong_is_refused_in_words(server, queue, wanted, told):
    answer = asked(f"{server}/api/queue/add", **wanted)
    assert told in f"{answer['where']} {answer['problem']}"
    assert not queue.exists()


def test_a_matrix_of_too_many_runs_or_a_wrong_setting_is_refused(server, job_text):
    url = f"{server}/api/queue/add"
    many = [{"path": "schedule.seed", "values": ",".join(map(str, range(500)))}]
    assert "500 runs are more" in _add(url, job_text, many)["problem"]
    wrong = [{"path": "adapter.rnak", "values": "2, 4"}]
    assert "rnak" in json.dumps(_add(url, job_text, wrong))


def _add(url: str, text: str, vary: list[dict[str, str]]) -> Any:
    return asked(url, source="text", given=text, vary=vary)


def test_a_worker_outlives_the_server_trains_and_goes_when_asked(visit, server, queue, job_text):
    _add(f"{server}/api/queue/add", job_text, [])
    page = visit("/queue")
    page.get_by_label("Device of a new worker").select_option("cpu")
    page.get_by_role("button", name="Start a worker").click()
    page.get_by_role("region", name="Ended").locator(".badge.completed").wait_for(timeout=240_000)
    page.get_by_text("waits for jobs").wait_for()
    with Store(queue) as store:
        (holder,) = claims.holders(store).values()
    assert psutil.Process(holder.pid).ppid() >= 0
    link = page.get_by_role("link", name="Run of").get_attribute("href")
    assert link is not None
    assert link.startswith("/runs?work=")
    page.get_by_role("button", name="Stop", exact=True).click()
    until(lambda: not holder.lives)
    page.get_by_text("Nobody works; nothing waits.").wait_for()


def test_a_worker_that_cannot_start_says_why(visit, queue):
    put(queue, "a")
    page = visit("/queue")
    page.get_by_label("Device of a new worker").select_option("cuda:3")
    page.get_by_role("button", name="Start a worker").click()
    page.get_by_text("The worker on cuda:3 ended").wait_for(timeout=90_000)
    assert waiting(queue) == ["a"]


def test_a_job_whose_worker_was_killed_is_told_and_not_lost(visit, queue):
    (number,) = put(queue, "a")
    with Store(queue) as store:
        store.database.execute(
            "INSERT INTO workers (id, host, pid, born, device, seen) VALUES (7, ?, 1, 5, 'cpu', 5)",
            (claims.host(),),
        )
        store.database.execute(
            "UPDATE jobs SET state = 'running', worker = 7 WHERE id = ?", (number,)
        )
    page = visit("/queue")
    page.get_by_text("The worker is gone").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog", name="Cancel a?").get_by_text("Cancel the job").click()
    page.get_by_role("region", name="Ended").get_by_text("a", exact=True).wait_for()


def test_a_pause_is_kept_and_taken_back(visit, queue):
    put(queue, "a")
    page = visit("/queue")
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("The queue is paused.").wait_for()
    with Store(queue) as store:
        assert store.pause == "later"
    page.reload()
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("button", name="Pause").wait_for()
    with Store(queue) as store:
        assert store.pause == ""


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("PRAGMA user_version = 99", "the queue is of version 99"),
        ("PRAGMA application_id = 5", "another program's"),
    ],
)
def test_a_queue_that_is_not_ours_to_read_is_said_on_the_page(visit, queue, sql, told):
    put(queue, "a")
    with sqlite3.connect(queue / "queue.sqlite") as database:
        database.execute(sql)
    page = visit("/queue", ready=False)
    page.expected += ["400", told, "Bad Request"]
    page.get_by_role("alert").get_by_text(told).wait_for()


def test_a_queue_that_somebody_holds_is_said_soon(server, queue):
    (number,) = put(queue, "a")
    holder = sqlite3.connect(queue / "queue.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    answer = asked(f"{server}/api/queue/move", job=number, how="first")
    assert "holds the queue" in answer["problem"]
    assert time.monotonic() - began < 20
    assert asked(f"{server}/api/queue/now")["counts"] == {"queued": 1}
    holder.close()


def test_ten_thousand_jobs_stay_usable(visit, server, queue):
    put(queue, *(f"job-{number:05}" for number in range(10_000)))
    began = time.perf_counter()
    page = visit("/queue")
    page.get_by_text("Waiting (10,000)").wait_for()
    shown = time.perf_counter() - began
    assert page.locator(".jobs li").count() == 100
    page.get_by_label("Find among waiting").fill("job-09")
    page.get_by_text("of 1,000").wait_for()
    began = time.perf_counter()
    asked(f"{server}/api/queue/now")
    asked(f"{server}/api/queue/waiting?first=9900")
    assert time.perf_counter() - began < 2
    assert shown < 20


def test_parts_take_words_literally(queue):
    put(queue, "a_b", "axb", "50%")
    with Store(queue) as store:
        assert [e.name for e in parts.waiting(store, "a_").entries] == ["a_b"]
        assert [e.name for e in parts.waiting(store, "%").entries] == ["50%"]
        assert parts.waiting(store, first=1, most=1).entries[0].name == "axb"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_in_both_colours(visit, require_accessible, queue, scheme):
    put(queue, "a", "b")
    with Store(queue) as store:
        claims.cancel(store, store.find("a"))
    page = visit("/queue", color_scheme=scheme)
    page.get_by_role("region", name="Ended").wait_for()
    require_accessible(page)
    page.get_by_role("button", name="Add jobs").click()
    page.get_by_text("Try several values").click()
    page.get_by_role("button", name="Add a setting").click()
    require_accessible(page)
