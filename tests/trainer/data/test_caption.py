from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.data.making import dataset
from trainer.core.draws import chance
from trainer.data.caption import final_caption

tags_ = st.lists(st.text("abcdefgh ", min_size=1).filter(str.strip), min_size=2, max_size=9)


def told(caption, seed=0, **settings):
    return final_caption(caption, dataset(Path(), **settings), chance=chance(seed, "caption"))


@given(st.text(), st.integers(0, 99))
def test_a_caption_stays_as_written_unless_asked(caption, seed):
    assert told(caption, seed) == caption


@given(st.text("abc .").filter(lambda t: "," not in t), st.integers(0, 99))
def test_a_sentence_is_neither_shuffled_nor_thinned(caption, seed):
    assert told(caption, seed, shuffle_tags=True, tag_dropout=0.9) == caption


@given(tags_, st.integers(0, 99), st.integers(0, 4))
def test_a_shuffle_keeps_every_tag_and_the_first_in_place(tags, seed, keep):
    tags = [tag.strip() for tag in tags]
    out = told(", ".join(tags), seed, shuffle_tags=True, keep_tags=keep).split(", ")
    assert sorted(out) == sorted(tags)
    assert out[:keep] == tags[:keep]


@given(tags_, st.integers(0, 99), st.integers(1, 4))
def test_dropout_keeps_order_and_the_first_tags(tags, seed, keep):
    tags = [tag.strip() for tag in tags]
    out = told(", ".join(tags), seed, tag_dropout=0.5, keep_tags=keep).split(", ")
    assert out[:keep] == tags[:keep]
    rest = iter(tags)
    assert all(tag in rest for tag in out)


@given(tags_, st.integers(0, 99))
def test_the_same_key_gives_the_same_words(tags, seed):
    settings = {"shuffle_tags": True, "tag_dropout": 0.3, "caption_dropout": 0.1}
    assert told(",".join(tags), seed, **settings) == told(",".join(tags), seed, **settings)


def test_captions_and_tags_drop_as_often_as_asked():
    empty = sum(not told("a dog", n, caption_dropout=0.25) for n in range(2000))
    assert 430 < empty < 570
    tags = ", ".join("abcde")
    left = sum(told(tags, n, tag_dropout=0.25).count(",") for n in range(1000))
    assert 2900 < left < 3100
