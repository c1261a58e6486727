"""A run that was asked to be analysed is, though whoever started it is gone."""

from __future__ import annotations

import time

from app import afterwards, runner
from tests.trainer.training import tiny_job
from trainer.job.run import Run


def test_a_run_is_analysed_after_its_end_by_a_process_that_waits(tiny_sd, pictures, tmp_path):
    asked = {"strengths": [1.0], "prompts": ["a fox"], "seeds": 1, "steps": 2, "fine": False}
    analysis = {"after_training": True, "judge": False, **asked}
    job = tiny_job(tiny_sd, pictures(count=4), tmp_path / "runs", analysis=analysis)
    run = Run.create(job)
    waiting = afterwards.hire(run)
    worker = runner.start(run)
    assert worker.wait(240) == 0
    assert waiting.wait(120) == 0
    deadline = time.monotonic() + 240
    while not list(run.path.glob("analysis/*/report.json")):
        assert time.monotonic() < deadline, (run.path / "afterwards.log").read_text()
        time.sleep(0.2)
