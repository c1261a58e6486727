import pytest

from trainer.engine.schedule import share_of_peak


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine"])
def test_the_first_step_already_moves_and_the_peak_follows_warm_up(kind):
    shares = [share_of_peak(n, steps=20, warmup=4, kind=kind) for n in range(1, 21)]
    assert shares[0] == pytest.approx(0.2)
    assert shares[4] == 1.0
    assert all(share > 0 for share in shares)


def test_cosine_is_half_way_in_the_middle_and_linear_falls_evenly():
    assert share_of_peak(51, steps=100, warmup=0, kind="cosine") == pytest.approx(0.5)
    assert share_of_peak(51, steps=100, warmup=0, kind="linear") == pytest.approx(0.5)
    assert share_of_peak(100, steps=100, warmup=0, kind="constant") == 1.0
