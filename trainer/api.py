"""Training from Python: a job becomes a run in the process that asks for it.

`from trainer import load_job, train_job`; docs/python-api.md tells the rest. Torch is imported when
the training starts.
"""

from __future__ import annotations

from collections.abc import Callable

from trainer.core.errors import COMPLETED, STOPPED, ConfigError
from trainer.core.events import Emit, Ended, write_to
from trainer.core.here import Listeners, Watch, work_here
from trainer.job.config import JobConfig
from trainer.job.run import Run
from trainer.track import Tracked

WHEN_FULL = (
    "resume with `--set compute.gradient_checkpointing=true`, or start a new run with a "
    "smaller schedule.batch_size (and more schedule.accumulate) or model.resolution"
)


def train_job(job: JobConfig, *, watch: Watch | None = None) -> Run:
    """Make a run of the job and train it here, until it is completed or asked to stop.

    Ctrl-C (a notebook's interrupt) finishes the step, saves and returns: `run.status()` is then
    "stopped", and `resume_run(run)` goes on. `run.ask_to_stop()` in another thread does the same.

    Args:
        job: From `load_job`, `parse_job` or `settle`.
        watch: Told of every event as it happens.

    Raises:
        UserError: Whatever a person can mend. A run that had begun is left as "failed".
    """
    _require_one_process(job)
    return _train(Run.create(job), watch)


def resume_run(run: Run, *, watch: Watch | None = None) -> Run:
    """Go on with a run that was stopped, killed or failed, exactly where its last kept state is.

    Raises:
        RunError: It is completed, or another process works on it.
        UserError: Whatever a person can mend.
    """
    _require_one_process(run.job)
    run.require_resumable()
    return _train(run, watch)


def _train(run: Run, watch: Watch | None) -> Run:
    def do(emit: Emit, stop: Callable[[], bool]) -> Ended:
        from trainer.train import train

        result = train(run, emit, stop)
        code = COMPLETED if result.status == "completed" else STOPPED
        return Ended(result.status, step=result.step, exit_code=code)

    tell = Listeners(Tracked(run, write_to(run.events_path)), watch)
    try:
        work_here(run, do, tell, hint_when_full=WHEN_FULL)
    finally:
        _forget_accelerate()
    return run


def _forget_accelerate() -> None:
    """Accelerate keeps the first run's device and precision for the whole process."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


def _require_one_process(job: JobConfig) -> None:
    if job.compute.processes > 1:
        raise ConfigError(
            f"the job asks for {job.compute.processes} processes, and from Python it trains in one",
            where="compute.processes",
            hint="1, or train it with `sweetspot train`",
        )
