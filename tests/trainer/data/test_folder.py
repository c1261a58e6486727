import json
import os
from pathlib import Path

import pytest
from PIL import Image

from tests.trainer.data.making import dataset, put
from trainer.core.errors import DatasetError
from trainer.core.files import hash_file
from trainer.data.folder import scan


def problems(found, name):
    return [p.what for p in found.problems if p.path.name == name]


def captions(found):
    return {picture.name: picture.caption for picture in found.pictures}


def test_a_scan_lists_pictures_by_name_with_size_hash_and_caption(tmp_path):
    put(tmp_path / "b.png", seed=1, size=(32, 48), caption="second")
    first = put(tmp_path / "a" / "x.jpg", caption="first")
    found = scan(dataset(tmp_path))
    assert [p.name for p in found.pictures] == ["a/x.jpg", "b.png"]
    assert (found.pictures[1].width, found.pictures[1].height) == (32, 48)
    assert found.pictures[0].digest == hash_file(first)
    assert captions(found) == {"a/x.jpg": "first", "b.png": "second"}
    assert found.problems == []


def test_two_scans_are_equal_whatever_order_files_were_made_in(tmp_path):
    for name in ("c.png", "a.png", "b/z.png", "b/a.png"):
        put(tmp_path / name, caption=name)
    assert scan(dataset(tmp_path)) == scan(dataset(tmp_path))


def test_nothing_in_the_folder_is_written(tmp_path):
    put(tmp_path / "a.png", caption="x")
    (tmp_path / "broken.png").write_bytes(b"no")
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*")}
    scan(dataset(tmp_path))
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*")}


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.write_text("x"), Path.mkdir])
def test_a_folder_without_pictures_is_refused_by_name(tmp_path, make):
    place = tmp_path / "pictures"
    make(place)
    with pytest.raises(DatasetError) as caught:
        scan(dataset(place))
    assert caught.value.where == str(place)
    assert caught.value.hint


def test_a_folder_of_damaged_pictures_is_refused_with_the_first_reason(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    (tmp_path / "b.png").write_bytes(b"no")
    with pytest.raises(DatasetError, match=r"none of 2 pictures.*'a.png'.*not a picture"):
        scan(dataset(tmp_path, trigger="sks"))


def test_a_damaged_picture_is_a_problem_and_the_rest_is_used(tmp_path):
    put(tmp_path / "a.png", caption="x")
    (tmp_path / "b.png").write_bytes(b"no")
    found = scan(dataset(tmp_path))
    assert captions(found) == {"a.png": "x"}
    assert "not a picture" in problems(found, "b.png")[0]


@pytest.mark.parametrize(
    "name", ["notes.md", "clip.mp4", "anim.gif", "phone.heic", "a.npz", "no_suffix", "b.txt"]
)
def test_every_ignored_file_is_named(tmp_path, name):
    put(tmp_path / "a.png", caption="x")
    (tmp_path / name).write_bytes(b"x")
    assert problems(scan(dataset(tmp_path)), name)


def test_hidden_files_and_folders_are_none_of_our_business(tmp_path):
    put(tmp_path / "a.png", caption="x")
    put(tmp_path / ".trash" / "b.png")
    put(tmp_path / ".c.png")
    found = scan(dataset(tmp_path))
    assert (len(found.pictures), found.problems) == (1, [])


@pytest.mark.parametrize("name", ["License", "README", "notice"])
def test_pictures_below_a_folder_named_like_a_note_are_found(tmp_path, name):
    put(tmp_path / name / "a.png", caption="x")
    (tmp_path / "README.de.md").write_text("what this is", encoding="utf-8")
    found = scan(dataset(tmp_path))
    assert ([p.name for p in found.pictures], found.problems) == ([f"{name}/a.png"], [])


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of Unix")
def test_links_and_pipes_are_named_and_not_followed(tmp_path):
    put(tmp_path / "a.png", caption="x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = scan(dataset(tmp_path))
    assert len(found.pictures) == 1
    assert all(problems(found, name) for name in ("loop", "gone.png", "pipe.png"))


@pytest.mark.skipif(os.name == "nt", reason="names there are always Unicode")
def test_a_name_that_is_no_unicode_is_a_problem(tmp_path):
    put(tmp_path / "a.png", caption="x")
    put(tmp_path / os.fsdecode(b"b\xff.png"))
    found = scan(dataset(tmp_path))
    assert len(found.pictures) == 1
    assert "Unicode" in found.problems[0].what


def test_progress_ends_at_the_number_of_pictures(tmp_path):
    for n in range(3):
        put(tmp_path / f"{n}.png", caption="x")
    told = []
    scan(dataset(tmp_path), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (3, 3)


def test_pictures_without_captions_are_refused_with_what_to_do(tmp_path):
    put(tmp_path / "a.png", caption="x")
    put(tmp_path / "b.png")
    with pytest.raises(DatasetError, match=r"1 of 2 pictures .*'b.png'") as caught:
        scan(dataset(tmp_path))
    assert "dataset.trigger" in caught.value.hint
    assert ".txt" in caught.value.hint


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"trigger": "sks", "class_word": "dog"}, "a sks dog"),
        ({"class_word": "dog"}, "a dog"),
        ({"template": "my {{dog}}"}, "my {dog}"),
    ],
)
def test_the_template_speaks_for_pictures_without_words(tmp_path, settings, wanted):
    put(tmp_path / "a.png")
    found = scan(dataset(tmp_path, **settings))
    assert (found.pictures[0].caption, found.pictures[0].source) == (wanted, "template")


def test_kohya_folders_give_repeats_and_words(tmp_path):
    put(tmp_path / "10_sks dog" / "a.png")
    put(tmp_path / "10_sks dog" / "b.png", caption="a sks dog asleep")
    put(tmp_path / "rest" / "c.png", caption="c")
    found = scan(dataset(tmp_path, repeats=3, trigger="unused"))
    assert [(p.repeats, p.caption, p.source) for p in found.pictures] == [
        (10, "sks dog", "folder"),
        (10, "a sks dog asleep", "txt"),
        (3, "c", "txt"),
    ]


@pytest.mark.parametrize("name", ["2024_holiday", "0_off"])
def test_a_year_is_not_taken_for_repeats(tmp_path, name):
    put(tmp_path / name / "a.png", caption="x")
    found = scan(dataset(tmp_path))
    assert found.pictures[0].repeats == 1
    assert "repeats" in problems(found, name)[0]


def jsonl(folder, *rows):
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


@pytest.mark.parametrize("column", ["text", "caption"])
def test_metadata_speaks_first_and_unused_texts_are_named(tmp_path, column):
    put(tmp_path / "sub" / "a.png", caption="from the text file")
    jsonl(tmp_path, {"file_name": "sub/a.png", column: "from metadata"})
    found = scan(dataset(tmp_path))
    assert captions(found) == {"sub/a.png": "from metadata"}
    assert "not used" in problems(found, "a.txt")[0]


def test_csv_metadata_is_read_with_commas_quotes_and_mark(tmp_path):
    put(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text('\ufefffile_name,text\na.png,"a ""dog"", asleep"\n')
    assert captions(scan(dataset(tmp_path))) == {"a.png": 'a "dog", asleep'}


def test_pictures_missing_from_metadata_and_rows_without_picture_are_named(tmp_path):
    put(tmp_path / "a.png")
    put(tmp_path / "b.png", caption="b")
    jsonl(tmp_path, {"file_name": "a.png", "text": "a"}, {"file_name": "gone.png", "text": "g"})
    found = scan(dataset(tmp_path))
    assert captions(found) == {"a.png": "a", "b.png": "b"}
    assert "no caption for it" in problems(found, "b.png")[0]
    assert "line 2 names 'gone.png'" in problems(found, "metadata.jsonl")[0]


def test_the_closest_metadata_counts(tmp_path):
    put(tmp_path / "a.png")
    put(tmp_path / "sub" / "a.png")
    jsonl(tmp_path, {"file_name": "a.png", "text": "outer"})
    jsonl(tmp_path / "sub", {"file_name": "a.png", "text": "inner"})
    assert captions(scan(dataset(tmp_path))) == {"a.png": "outer", "sub/a.png": "inner"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"file_name": "a.png", "text": "x"}\nrubbish', "line 2 is not JSON"),
        ("[1]", "not a JSON object"),
        ('{"text": "x"}', "no 'file_name'"),
        ('{"file_name": "a.png", "text": 5}', "not text: 5"),
        (
            '{"file_name": "a.png", "text": "x"}\n{"file_name": "a.png", "text": "y"}',
            "another caption",
        ),
    ],
)
def test_damaged_metadata_is_refused_with_its_line(tmp_path, content, said):
    put(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text(content)
    with pytest.raises(DatasetError, match=said) as caught:
        scan(dataset(tmp_path, trigger="sks"))
    assert caught.value.where.endswith("metadata.jsonl")


def test_two_metadata_files_in_one_folder_are_refused(tmp_path):
    put(tmp_path / "a.png")
    jsonl(tmp_path, {"file_name": "a.png", "text": "a"})
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,b\n")
    with pytest.raises(DatasetError, match="in one folder"):
        scan(dataset(tmp_path))


def test_names_with_dots_have_their_own_captions(tmp_path):
    put(tmp_path / "a.b.jpg", seed=1)
    put(tmp_path / "a.jpg", seed=2)
    (tmp_path / "a.b.txt").write_text("two")
    (tmp_path / "a.txt").write_text("one")
    assert captions(scan(dataset(tmp_path))) == {"a.b.jpg": "two", "a.jpg": "one"}


def test_one_text_for_two_pictures_is_refused(tmp_path):
    put(tmp_path / "a.jpg")
    put(tmp_path / "a.png", caption="whose")
    with pytest.raises(DatasetError, match="another picture of the same name") as caught:
        scan(dataset(tmp_path))
    assert caught.value.where.endswith("a.txt")


def test_pictures_of_one_stem_without_text_stay_two(tmp_path):
    put(tmp_path / "a.jpg")
    put(tmp_path / "a.png")
    found = scan(dataset(tmp_path, trigger="sks"))
    assert [p.name for p in found.pictures] == ["a.jpg", "a.png"]


def test_captions_of_another_kind_stop_the_template(tmp_path):
    put(tmp_path / "a.png")
    (tmp_path / "a.caption").write_text("a careful caption")
    with pytest.raises(DatasetError, match=r"\.caption files are not read"):
        scan(dataset(tmp_path, trigger="sks"))


def test_captions_of_another_kind_beside_a_text_are_named(tmp_path):
    put(tmp_path / "a.png", caption="x")
    (tmp_path / "a.caption").write_text("y")
    assert problems(scan(dataset(tmp_path)), "a.caption")


@pytest.mark.parametrize(
    ("data", "byte"),
    [("café".encode("latin-1"), "byte 3 is 0xe9"), ("dog".encode("utf-16"), "UTF-16"),
     ("dog".encode("utf-16-le"), "byte 1 is 0x00")],
)  # fmt: skip
def test_captions_that_are_not_utf8_are_refused_with_the_byte(tmp_path, data, byte):
    put(tmp_path / "a.png").with_suffix(".txt").write_bytes(data)
    with pytest.raises(DatasetError) as caught:
        scan(dataset(tmp_path))
    assert byte in str(caught.value)
    assert caught.value.where.endswith("a.txt")


def test_a_byte_order_mark_and_line_breaks_are_no_part_of_a_caption(tmp_path):
    put(tmp_path / "a.png").with_suffix(".txt").write_bytes(
        b"\xef\xbb\xbf a caf\xc3\xa9,\r\n dog\n"
    )
    assert captions(scan(dataset(tmp_path))) == {"a.png": "a café, dog"}


def test_an_empty_text_is_an_empty_caption(tmp_path):
    put(tmp_path / "a.png").with_suffix(".txt").write_text("")
    assert captions(scan(dataset(tmp_path))) == {"a.png": ""}


def test_a_bomb_is_a_problem(tmp_path):
    put(tmp_path / "a.png", caption="x")
    Image.new("1", (3000, 3000)).save(tmp_path / "b.png")
    found = scan(dataset(tmp_path, max_megapixels=1.0))
    assert "larger than 1 megapixels" in problems(found, "b.png")[0]
