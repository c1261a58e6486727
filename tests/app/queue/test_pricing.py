"""What jobs will cost, asked of a process of its own."""

import time

from app.queue import pricing
from app.queue.pricing import Pricing
from app.queue.store import Asked

JOB = Asked("one", "train", "auto", "", "{")


def until(true) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_that_is_done_leaves_no_pipe_open(monkeypatch):
    begun = []
    popen = pricing.subprocess.Popen
    monkeypatch.setattr(
        pricing.subprocess,
        "Popen",
        lambda *args, **kwargs: begun.append(popen(*args, **kwargs)) or begun[-1],
    )
    asking = Pricing()
    number = asking.start([JOB])
    until(lambda: asking.told(number).ended)
    (process,) = begun
    assert all(pipe.closed for pipe in (process.stdin, process.stdout, process.stderr))


def test_one_that_is_stopped_says_so_and_leaves_no_pipe_open():
    asking = Pricing()
    number = asking.start([JOB] * 1000)
    prices = asking.told(number)
    asking.stop()
    until(lambda: prices.ended)
    assert prices.problem
