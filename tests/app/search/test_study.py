"""Trials: trained, taken by several workers, killed, stopped, tried again."""

from __future__ import annotations

import time

import pytest

from app.search.report import found, headline, write
from app.search.space import trial_layers
from app.search.study import _take, _take_again, work
from app.search.trial import Stop
from tests.app.search.searching import RANKS, RATES, keep_preset, made, start_worker, told_study
from trainer.core.errors import RunError


def test_a_search_ends_with_a_score_a_trial(make_job):
    space = {**RATES, "adapter.rank": [2, 4], "adapter.alpha": "= adapter.rank"}
    search = made(make_job(), space, trials=2, startup=1, prune=False)
    said = []
    work(search, said.append, Stop())
    told = found(search)
    assert [row.state for row in told.rows] == ["complete"] * 2, said
    assert told.first is None  # a learning rate of 1e-4 is outside the range
    for row in told.rows:
        text = (search.path / row.run / "job.toml").read_text(encoding="utf-8")
        rank = row.values["adapter.rank"]
        assert f"alpha = {float(rank)}" in text
    page = write(search).read_text(encoding="utf-8")
    assert "optimizer.learning_rate" in page
    assert page.count("<circle") == 4


@pytest.mark.slow
def test_the_job_as_it_stands_and_presets_are_tried_first(make_job, tmp_path):
    keep_preset("hot", {"optimizer": {"learning_rate": 0.05}})
    job = make_job(optimizer={"learning_rate": 2e-3})
    search = made(job, RATES, trials=2, presets=("hot",))
    work(search, lambda told: None, Stop())
    rates = [row.values["optimizer.learning_rate"] for row in found(search).rows]
    assert rates == [2e-3, 0.05]
    assert "The job as it stood" in headline(found(search)) or found(search).best.number == 0


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True], ids=["processes", "namespaces"])
def test_two_workers_share_a_search_and_run_no_trial_twice(make_job, request, apart):
    namespaces = request.getfixturevalue("namespaces") if apart else []
    places = [("ip", "netns", "exec", name) for name in namespaces] or [(), ()]
    search = made(make_job(), RATES, trials=4, startup=4, prune=False)
    workers = [start_worker(search, *place) for place in places]
    told = [worker.communicate(timeout=580)[0] for worker in workers]
    rows = found(search).rows
    assert [row.number for row in rows] == [0, 1, 2, 3]
    assert {row.state for row in rows} == {"complete"}, told
    assert len(list((search.path / "runs").glob("*/job.toml"))) == 4
    assert all("trial" in one for one in told), "each worker did some"


@pytest.mark.slow
def test_a_killed_worker_s_trial_is_gone_on_with(make_job):
    search = made(make_job(), RATES, trials=2, prune=False)
    worker = start_worker(search)
    deadline = time.monotonic() + 120
    while not list((search.path / "runs").glob("*/events.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    worker.kill()  # its run goes on, and is waited for
    worker.communicate()
    work(search, lambda told: None, Stop())
    assert [row.state for row in found(search).rows] == ["complete"] * 2
    assert len(list((search.path / "runs").glob("*/job.toml"))) == 2


@pytest.mark.slow
def test_a_trial_that_fails_is_told_and_the_rest_goes_on(make_job):
    shares = [0.99, 0.34]  # the first leaves no picture to train on
    search = made(make_job(), {"validation.share": shares}, trials=2, startup=0, prune=False)
    study = search.study()
    for share in shares:
        study.enqueue_trial({"validation.share": share})
    said = []
    work(search, said.append, Stop())
    assert [row.state for row in found(search).rows] == ["fail", "complete"], said
    assert any("trial 0: failed" in line for line in said)


def test_a_stopped_search_goes_on_with_its_trial(make_job):
    search = made(make_job(), RATES, trials=1)
    stop = Stop()
    said = []

    def tell(line):
        said.append(line)
        stop.ask()

    work(search, tell, stop)
    assert [row.state for row in found(search).rows] == ["running"], said
    work(search, said.append, Stop())
    assert [row.state for row in found(search).rows] == ["complete"], said
    assert len(list((search.path / "runs").glob("*/job.toml"))) == 1


def test_a_study_that_vanishes_is_told_and_no_run_is_lost(make_job):
    search = made(make_job(), RATES, trials=1)
    work(search, lambda told: None, Stop())
    (search.path / "study.log").unlink()
    with pytest.raises(RunError, match=r"study\.log is gone; its runs are all there"):
        work(search, lambda told: None, Stop())
    assert list((search.path / "runs").glob("*/job.toml"))


def test_a_study_that_is_damaged_is_told(make_job):
    search = made(make_job(), RATES, trials=1)
    (search.path / "study.log").write_text("{not json\n{nor this\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"study\.log is damaged"):
        found(search)


def test_nothing_is_tried_again_while_a_trial_is_running(make_job):
    search = made(make_job(), RANKS, trials=2, finalists=1, again=1)
    told_study(search, [3.0])
    running = _take(search)
    assert _take(search) is None
    assert _take_again(search) is None
    search.study().tell(running, 4.0)
    assert _take_again(search).user_attrs["again"] in (0, running.number)


def test_a_repetition_trains_the_same_setting_with_another_seed(make_job):
    search = made(make_job(), RANKS, trials=1)
    layers = trial_layers(search.job, search.space, {"adapter.rank": 4}, "fox-t001", 2)
    assert (layers.job.adapter.rank, layers.job.schedule.seed) == (4, 5)
