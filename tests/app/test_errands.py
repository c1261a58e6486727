"""Short work beside a light process: answers, problems in words, and a child that died."""

from __future__ import annotations

import pytest

from app.errands import Errands
from trainer.core.errors import ConfigError, RunError


@pytest.fixture
def errands():
    some = Errands()
    yield some
    some.end()


def test_a_problem_comes_back_in_words_and_a_killed_child_is_replaced(errands, tmp_path):
    given = {"sources": [str(tmp_path / "none.safetensors")], "named": {}, "runs": str(tmp_path)}
    with pytest.raises((ConfigError, RunError), match="there is no such run, LoRA file or folder"):
        errands.run("plan", given)
    errands._child.kill()
    errands._child.wait()
    with pytest.raises((ConfigError, RunError), match="there is no such run, LoRA file or folder"):
        errands.run("plan", given)
