import json
from pathlib import Path

import pytest
from PIL import Image

from tests.trainer.data.making import dataset, picture, put
from trainer.core.errors import DatasetError
from trainer.data.check import check


def look(folder, **settings):
    return check(dataset(folder, **{"bucket_step": 16, **settings}), resolution=64, step=8)


def test_a_sound_dataset_has_nothing_to_say_against_it(tmp_path):
    for number in range(3):
        put(tmp_path / f"{number}.png", seed=number, caption=f"a sks dog, scene {number}")
    report = look(tmp_path, trigger="sks", class_word="dog", repeats=2)
    assert (report.pictures, report.shown) == (3, 6)
    assert report.buckets == {"80x48": 3}
    assert report.caption_sources == {"txt": 3}
    assert not any([report.problems, report.too_small, report.much_cropped, report.glued])
    assert not any([report.empty_captions, report.long_captions, report.without_trigger])
    assert not any([report.duplicates, report.near_duplicates, report.misspelt])


def test_a_report_is_plain_data(tmp_path):
    put(tmp_path / "a.png", caption="x")
    (tmp_path / "b.mp4").write_bytes(b"")
    told = look(tmp_path).as_dict()
    assert json.loads(json.dumps(told))["problems"][0]["path"].endswith("b.mp4")


def test_pictures_that_only_a_full_decode_finds_damaged_are_named(tmp_path):
    put(tmp_path / "a.jpg", size=(300, 200), caption="x")
    put(tmp_path / "b.jpg", seed=1, size=(300, 200), caption="x")
    content = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(content[: len(content) // 2])
    report = look(tmp_path)
    assert report.pictures == 1
    assert [Path(problem["path"]).name for problem in report.problems] == ["b.jpg"]
    assert report.damaged == ("b.jpg",)
    assert not report.trainable


def test_a_folder_of_pictures_that_are_too_small_cannot_be_trained_on(tmp_path):
    put(tmp_path / "a.png", size=(9, 9), caption="x")
    report = look(tmp_path)
    assert report.too_small == ("a.png",)
    assert not report.trainable


def test_a_folder_where_nothing_decodes_is_refused(tmp_path):
    path = put(tmp_path / "a.jpg", size=(300, 200), caption="x")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DatasetError, match="none of 1 pictures can be decoded"):
        look(tmp_path)


def test_worker_processes_say_the_same_as_one(tmp_path, monkeypatch):
    for number in range(70):
        put(tmp_path / f"{number:02d}.png", seed=number % 60, size=(32, 32), caption="a dog")
    (tmp_path / "99.png").write_bytes((tmp_path / "00.png").read_bytes()[:-900])
    (tmp_path / "99.txt").write_text("a dog")
    several = look(tmp_path)
    monkeypatch.setattr("trainer.data.check._FEW", 1000)
    assert look(tmp_path) == several
    assert len(several.problems) == 1
    assert len(several.duplicates) == 10


def test_copies_and_lookalikes_are_grouped(tmp_path):
    put(tmp_path / "a.png", seed=1, size=(200, 150), caption="a dog")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "b.txt").write_text("a cat")
    picture(1, (200, 150)).resize((100, 75)).save(tmp_path / "c.jpg", quality=70)
    (tmp_path / "c.txt").write_text("x")
    put(tmp_path / "d.png", seed=2, size=(200, 150), caption="x")
    report = look(tmp_path)
    assert report.duplicates == (("a.png", "b.png"),)
    assert report.contradictions == (("a.png", "b.png"),)
    assert report.near_duplicates == (("a.png", "c.jpg"),)


def test_copies_with_one_caption_do_not_contradict(tmp_path):
    put(tmp_path / "a.png", caption="a dog")
    put(tmp_path / "b.png", caption="a dog")
    report = look(tmp_path)
    assert (len(report.duplicates), report.contradictions, report.near_duplicates) == (1, (), ())


def test_small_and_much_cropped_pictures_are_named(tmp_path):
    put(tmp_path / "small.png", size=(15, 80), caption="x")
    put(tmp_path / "wide.png", size=(900, 90), caption="x")
    put(tmp_path / "fine.png", caption="x")
    report = look(tmp_path)
    assert report.too_small == ("small.png",)
    assert report.much_cropped == ("wide.png",)
    assert report.pictures == 2


def test_captions_without_or_glued_to_the_trigger_are_told(tmp_path):
    for number, caption in enumerate(["a SKS, dog", "a sksdog", "sksdog, run", "a dog", ""]):
        put(tmp_path / f"{number}.png", seed=number).with_suffix(".txt").write_text(caption)
    report = look(tmp_path, trigger="sks", class_word="dog")
    assert report.without_trigger == ("1.png", "2.png", "3.png", "4.png")
    assert report.glued == {"sksdog": 2}
    assert report.empty_captions == ("4.png",)


def test_misspelt_triggers_and_words_of_every_caption_are_told(tmp_path):
    scenes = ["park", "river", "kitchen", "street", "forest", "beach"]
    for number, scene in enumerate(scenes):
        name = "zwerrg" if number == 3 else "zwerg"
        caption = f"{name} dog, red scarf, {scene}"
        put(tmp_path / f"{number}.png", seed=number, caption=caption)
    report = look(tmp_path, trigger="zwerg", class_word="dog")
    assert report.misspelt == {"zwerrg": 1}
    assert report.constant_words == {"red scarf": 1.0}


def test_captions_beyond_the_text_encoder_are_told(tmp_path):
    put(tmp_path / "a.png", caption="word " * 80)
    put(tmp_path / "b.png", caption="word " * 30)
    assert look(tmp_path).long_captions == ("a.png",)
    config = dataset(tmp_path, bucket_step=16)
    strict = check(config, resolution=64, step=8, too_long=lambda caption: True)
    assert strict.long_captions == ("a.png", "b.png")


def test_progress_covers_scan_and_decode(tmp_path):
    put(tmp_path / "a.png", caption="x")
    told = []
    check(
        dataset(tmp_path, bucket_step=16),
        resolution=64,
        step=8,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 2), (2, 2)]


def test_user_files_are_left_as_they_are(tmp_path):
    Image.new("RGBA", (64, 64)).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").stat().st_mtime_ns, (tmp_path / "a.png").read_bytes()
    look(tmp_path, trigger="sks")
    assert before == ((tmp_path / "a.png").stat().st_mtime_ns, (tmp_path / "a.png").read_bytes())
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
