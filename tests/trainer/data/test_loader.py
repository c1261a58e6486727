"""What an epoch shows, from its plan alone."""

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trainer.data.bucket import Frame, Framed
from trainer.data.folder import Picture
from trainer.data.loader import Plan, Shape


def framed(number: int, side: int, repeats: int = 1) -> Framed:
    name = f"{number}.png"
    picture = Picture(Path(name), name, side, side, "a fox", repeats, f"{number:064x}")
    return Framed(picture, Frame((side, side), (side, side), (0, 0)))


items_ = st.lists(
    st.tuples(st.sampled_from([64, 96, 128]), st.integers(1, 3)), min_size=1, max_size=20
)


def made(sides):
    return [framed(n, side, repeats) for n, (side, repeats) in enumerate(sides)]


@given(items_, st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_every_showing_is_in_exactly_one_batch_of_one_bucket(sides, batch, accumulate, epoch):
    items = made(sides)
    plan = Plan(items, Shape(batch, accumulate), seed=1)
    groups = plan.epoch(epoch)
    shown = Counter(slot.item for group in groups for micro in group for slot in micro)
    assert shown == {n: item.picture.repeats for n, item in enumerate(items)}
    assert len(groups) == plan.steps
    for group in groups:
        for micro in group:
            assert len({items[slot.item].frame.size for slot in micro}) == 1
            assert len(micro) <= batch


@given(items_, st.integers(1, 5), st.integers(1, 4))
def test_the_weights_of_a_step_sum_to_one(sides, batch, accumulate):
    plan = Plan(made(sides), Shape(batch, accumulate), seed=1)
    for group in plan.epoch(1):
        assert abs(sum(slot.weight for micro in group for slot in micro) - 1) < 1e-9


@given(items_, st.integers(1, 5), st.integers(1, 4), st.floats(0.1, 3))
def test_each_step_shows_as_many_class_pictures_as_instance_pictures(sides, batch, accumulate, w):
    own = made(sides)
    classes = [framed(1000 + n, 64 if n % 2 else 128) for n in range(3)]
    plan = Plan([*own, *classes], Shape(batch, accumulate, w), seed=1, classes_from=len(own))
    for group in plan.epoch(2):
        slots = [slot for micro in group for slot in micro]
        kinds = Counter(slot.item >= len(own) for slot in slots)
        assert kinds[True] == kinds[False]
        of_classes = sum(slot.weight for slot in slots if slot.item >= len(own))
        assert abs(of_classes - w) < 1e-9


def test_epochs_differ_in_order_and_a_plan_can_be_made_again():
    items = [framed(n, 64) for n in range(12)]
    plan, again = (Plan(items, Shape(2, 1), seed=5) for _ in range(2))
    assert plan.epoch(1) == again.epoch(1)
    assert plan.epoch(1) != plan.epoch(2)
    assert Plan(items, Shape(2, 1), seed=6).epoch(1) != plan.epoch(1)
