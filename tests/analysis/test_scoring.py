from typing import ClassVar, Literal

import numpy as np
import pytest
from PIL import Image

from analysis.metrics.base import Company, MetricConfig, metrics
from analysis.scoring import Item, Reading, References, score
from tests.analysis.metrics.test_ssim import noisy, photo
from trainer.core.errors import ConfigError

ALONE = {name: metrics[name]() for name in ("ssim", "brisque", "burn")}


class Told(MetricConfig):
    """Tells what it was given; the base of metrics that are made here to test `score`."""

    title: ClassVar[str] = "Told"
    axis: ClassVar = "aside"
    better: ClassVar = "neither"
    meaning: ClassVar[str] = "Nothing."
    distrust: ClassVar[str] = "Always."

    kind: Literal["told"] = "told"

    def score(self, pictures, company):
        return [float(picture.mean()) for picture in pictures]


class Group(Told):
    """How many pictures of its group a picture came with."""

    def score(self, pictures, company):
        return [float(company.groups.count(group)) for group in company.groups]


class Most(Told):
    """How many pictures came at once."""

    def score(self, pictures, company):
        return [float(len(pictures))] * len(pictures)


class Looks(Told):
    """Likeness to the first reference."""

    needs: ClassVar = frozenset({"reference", "eye"})

    def score(self, pictures, company):
        return [float(v) for v in company.eye(pictures) @ company.eye(company.references)[0]]


class Broken(Told):
    """Has a bug."""

    def score(self, pictures, company):
        raise ZeroDivisionError("a bug")


class BrokenAlone(Broken):
    alone: ClassVar[bool] = True


class NotANumber(Told):
    """Breaks its promise."""

    def score(self, pictures, company):
        return [float("nan")] * len(pictures)


class Away(Told):
    """Is not installed."""

    def absent(self):
        return "the package nothing is not installed"


@pytest.fixture
def cells(tmp_path):
    """Six pictures of two settings, three seeds, and the three controls."""
    items = []
    for seed in range(3):
        Image.fromarray(photo(96, 80, seed)).save(tmp_path / f"control-{seed}.png")
    for setting in range(2):
        for seed in range(3):
            path = tmp_path / f"{setting}-{seed}.png"
            Image.fromarray(noisy(photo(96, 80, seed))).save(path)
            items.append(Item(path, tmp_path / f"control-{seed}.png", "a fox", setting))
    return items


def test_each_picture_has_the_values_its_metric_gives_it(cells):
    for item, found in zip(cells, score(ALONE, cells), strict=True):
        pixels, control = (np.asarray(Image.open(f)) for f in (item.picture, item.control))
        company = Company(controls=[control])
        assert found.values == {n: m.score([pixels], company)[0] for n, m in ALONE.items()}
        assert not found.unscored
        assert found.fault is None
        assert not found.resized


def test_processes_give_the_same_numbers_as_none(cells):
    chosen = {**ALONE, "group": Group()}
    assert score(chosen, cells * 3, processes=2) == score(chosen, cells * 3, processes=0)


def test_an_order_of_its_own_does_not_change_whose_value_is_whose(cells):
    mixed = [cells[i] for i in (5, 0, 3, 2, 4, 1)]
    straight = dict(zip([c.picture for c in cells], score(ALONE, cells), strict=True))
    assert score(ALONE, mixed) == [straight[item.picture] for item in mixed]


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "gone", "folder"])
def test_a_file_that_cannot_be_read_has_a_reason_and_the_rest_goes_on(cells, damage):
    path = cells[2].picture
    whole = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "text":
            path.write_text("no picture")
        case "empty":
            path.write_bytes(b"")
        case "gone":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()
    found = score({**ALONE, "group": Group()}, cells)
    assert found[2].fault.status == ("missing" if damage in ("gone", "folder") else "damaged")
    assert found[2].unscored == dict.fromkeys([*ALONE, "group"], found[2].fault)
    assert [one.fault for one in found].count(None) == 5
    assert found[1].values["group"] == 2


def test_a_damaged_control_leaves_what_needs_it_unscored_and_says_so(cells):
    cells[0].control.write_bytes(cells[0].control.read_bytes()[:500])
    first = score(ALONE, cells)[0]
    assert set(first.values) == {"brisque", "burn"}
    assert first.unscored["ssim"].status == "damaged"
    assert "base model" in first.unscored["ssim"].reason


def test_a_picture_without_a_control_is_scored_by_what_needs_none(cells):
    (found,) = score(ALONE, [Item(cells[0].picture)])
    assert set(found.values) == {"brisque", "burn"}
    assert found.unscored["ssim"].status == "missing"


def test_a_control_of_another_size_is_told(cells, tmp_path):
    Image.fromarray(photo(64, 64)).save(tmp_path / "small.png")
    small = Item(cells[0].picture, tmp_path / "small.png")
    found = score(ALONE, [cells[0], small])
    assert [one.resized for one in found] == [False, True]
    assert "ssim" in found[1].values


def rgba(picture):
    alpha = np.full((*picture.shape[:2], 1), 255, np.uint8)
    alpha[:20] = 0
    return Image.fromarray(np.concatenate([picture, alpha], axis=2))


def laid(picture, colour):
    on = picture.copy()
    on[:20] = colour
    return on


def test_transparent_parts_lie_on_white_unless_told(tmp_path):
    picture = photo(96, 96)
    path = tmp_path / "alpha.png"
    rgba(picture).save(path)
    for colour, reading in ((255, None), (0, Reading(background="#000000"))):
        (found,) = score({"mean": Told()}, [Item(path)], reading=reading)
        assert found.values["mean"] == laid(picture, colour).mean()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    grey = photo(96, 96)[..., 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    (found,) = score({"mean": Told()}, [Item(tmp_path / "deep.png")])
    assert found.values["mean"] == grey.mean()


def test_cmyk_is_scored_as_it_looks(tmp_path):
    picture = Image.fromarray(photo(96, 96))
    picture.convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    picture.save(tmp_path / "plain.png")
    told, plain = (
        score(ALONE, [Item(tmp_path / name, tmp_path / "plain.png")])[0]
        for name in ("print.jpg", "plain.png")
    )
    assert told.values["ssim"] > 0.9
    assert plain.values["ssim"] == pytest.approx(1)


def test_a_turned_photo_is_compared_upright(tmp_path):
    upright = Image.fromarray(photo(96, 128))
    upright.save(tmp_path / "control.png")
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise makes it upright
    turned.save(tmp_path / "turned.png", exif=exif)
    (found,) = score(ALONE, [Item(tmp_path / "turned.png", tmp_path / "control.png")])
    assert found.values["ssim"] == pytest.approx(1)
    assert not found.resized


@pytest.mark.parametrize("side", [8, 64])
def test_a_black_frame_and_a_tiny_one_never_get_a_number_they_could_win_with(tmp_path, side):
    Image.new("RGB", (side, side)).save(tmp_path / "black.png")
    (found,) = score(ALONE, [Item(tmp_path / "black.png", tmp_path / "black.png")])
    assert set(found.unscored) == {"ssim", "brisque"}
    assert {one.status for one in found.unscored.values()} <= {"flat", "too_small"}


def test_pictures_of_a_group_are_scored_together_however_many_there_are(cells):
    many = [Item(cells[i % 6].picture, group=i % 11) for i in range(143)]
    found = score({"group": Group(), "most": Most()}, many)
    assert {one.values["group"] for one in found} == {13}
    assert max(one.values["most"] for one in found) < 60


def test_an_eye_looks_at_each_picture_once_though_two_metrics_ask(cells):
    shown = []

    def eye(pictures):
        shown.extend(pictures)
        return np.stack([np.array([p.mean(), 1.0]) / np.hypot(p.mean(), 1) for p in pictures])

    references = References(training=[photo(96, 80, 7), photo(96, 80, 8)], eye=eye)
    found = score({"one": Looks(), "two": Looks()}, cells * 8, references)
    assert len(shown) == 2 + 48
    assert all(one.values["one"] == one.values["two"] for one in found)


@pytest.mark.parametrize(
    ("references", "lacks"),
    [(References(), "reference picture"), (References(held_out=[photo(96, 80)]), "model")],
)
def test_a_metric_without_what_it_needs_says_what_that_is(cells, references, lacks):
    found = score({"likeness": Looks()}, cells, references)
    assert {one.unscored["likeness"].status for one in found} == {"missing"}
    assert all(lacks in one.unscored["likeness"].reason for one in found)


@pytest.mark.parametrize(("metric", "processes"), [(Broken(), 0), (BrokenAlone(), 2)])
def test_a_bug_of_a_metric_is_raised(cells, metric, processes):
    with pytest.raises(ZeroDivisionError, match="a bug"):
        score({"broken": metric}, cells, processes=processes)


def test_a_metric_that_breaks_its_promise_is_a_bug(cells):
    with pytest.raises(ArithmeticError, match="nan"):
        score({"nan": NotANumber()}, cells)


def test_a_metric_that_is_absent_is_refused_before_any_work(cells):
    told = []
    with pytest.raises(ConfigError, match="'away' cannot be used here: the package nothing"):
        score({"away": Away()}, cells, progress=lambda *at: told.append(at))
    assert told == []


def test_progress_goes_up_to_the_number_of_pictures(cells):
    told = []
    score(ALONE, cells * 4, progress=lambda done, total: told.append((done, total)))
    assert [total for _, total in told] == [24] * len(told)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (24, 24)
    assert len(told) > 2


def test_nothing_to_score_is_no_error():
    assert score(ALONE, []) == []
