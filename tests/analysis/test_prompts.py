"""Prompts that a sweep makes for itself."""

from analysis.prompts import made


def asked(found, kind="trigger"):
    return [prompt.text for prompt in found if prompt.kind == kind]


def test_a_subject_is_asked_for_in_eight_settings_and_without_its_word():
    found = made("sks", "dog", [])
    assert len(asked(found)) == 8
    assert asked(found)[0] == "a sks dog"
    assert asked(found, "plain") == ["a dog", "a dog on a beach"]


def test_a_caption_stands_for_the_setting_of_training():
    found = made("sks", "dog", ["a photo of a cat", "a sks dog asleep on grey tiles"])
    assert len(asked(found)) == 8
    assert "a sks dog asleep on grey tiles" in asked(found)
    assert "a photo of a cat" not in asked(found)


def test_captions_that_are_the_template_add_nothing():
    assert made("sks", "dog", ["a sks dog"]) == made("sks", "dog", [])


def test_without_trigger_and_class_the_captions_are_asked_and_nothing_can_leak():
    found = made("", "", ["one", "two", "three"])
    assert asked(found)[:2] == ["one", "two"]
    assert not asked(found, "plain")
