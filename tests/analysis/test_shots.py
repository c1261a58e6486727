"""Which pictures count when some settings have more of them than others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from analysis import words
from analysis.pictures import find
from analysis.race import Racer, shots_of
from analysis.ranking import rank
from analysis.statistics import differ
from analysis.table import Column, Prompt, Setting, Table
from analysis.vetoes import Facts, Rules

FACTS = (Facts("moved", "learned", "higher", "all"), Facts("ssim", "aside", "neither", "all"))


def table_of(ssim, strength=1.0):
    """Epochs 1, 2, ... at one strength, by SSIM alone."""
    settings = tuple(Setting(n + 1, strength) for n in range(len(ssim)))
    prompts = tuple(Prompt(f"prompt {n}") for n in range(ssim.shape[1]))
    columns = {"ssim": Column(ssim, np.full(ssim.shape[1:], np.nan))}
    return Table(settings, prompts, tuple(range(ssim.shape[2])), columns, {})


def learned(gains, *, noise=0.01, shape=(4, 2), seed=0):
    dice = np.random.default_rng(seed)
    gains = np.array(gains)[:, None, None]
    return table_of(1 - gains - noise * dice.standard_normal((len(gains), *shape)))


def chosen(table):
    found = rank(table, FACTS, Rules(), {})
    return None if found.choice is None else table.settings[found.choice].epoch


RISING = (0.1, 0.2, 0.3, 0.4, 0.35, 0.3)


def test_a_picture_that_one_setting_alone_has_changes_no_verdict():
    table = learned(RISING, shape=(4, 3))
    table.columns["ssim"].values[:, :, 2] = np.nan
    assert chosen(table) == 4
    table.columns["ssim"].values[0, 0, 2] = 0.1
    found = rank(table, FACTS, Rules(), {})
    assert table.settings[found.choice].epoch == 4
    assert any("One picture does not count" in line for line in found.said)


def test_a_prompt_that_failed_everywhere_but_once_is_passed_over():
    table = learned(RISING, shape=(5, 2))
    table.columns["ssim"].values[1:, 4] = np.nan
    found = rank(table, FACTS, Rules(), {})
    assert table.settings[found.choice].epoch == 4
    assert "surely more than every other" not in words.headline(table, found) or found.contest
    assert len(found.field) == 6


def test_a_setting_that_lacks_what_most_have_does_not_compete_and_the_rest_still_ties():
    table = learned([0.3] * 6, noise=0.05, seed=2)
    assert rank(table, FACTS, Rules(), {}).state == "cannot tell apart"
    table.columns["ssim"].values[5, 0, 0] = np.nan
    found = rank(table, FACTS, Rules(), {})
    assert found.state == "cannot tell apart"
    assert any("1 of 6 settings do not compete" in line for line in found.said)


def test_prompts_with_seeds_of_their_own_are_compared_by_their_means():
    table = learned(RISING, shape=(4, 3))
    table.columns["ssim"].values[:, 2, 1:] = np.nan
    found = rank(table, FACTS, Rules(), {})
    assert table.settings[found.choice].epoch == 4
    assert found.gain.mean[3] == pytest.approx(0.4, abs=0.02)


def raced(table, share=0.45):
    rendered = np.zeros(table.columns["ssim"].values.shape, bool)
    shots = shots_of(*rendered.shape[1:])
    racer = Racer(int(share * rendered.size), FACTS, Rules(), list(range(len(rendered))), shots)

    def known():
        column = table.columns["ssim"]
        masked = replace(column, values=np.where(rendered, column.values, np.nan))
        behind = frozenset(s for i, s in enumerate(table.settings) if i not in racer.alive)
        return replace(table, columns={"ssim": masked}, dropped=behind)

    while (asked := racer.next(known(), {})) is not None:
        settings, (prompt, seed) = asked
        rendered[settings, prompt, seed] = True
    return rank(known(), FACTS, Rules(), {}), known()


def test_a_race_over_equal_settings_cannot_tell_them_apart_either():
    states = [
        raced(learned([0.3] * 12, noise=0.1, shape=(8, 2), seed=s))[0].state for s in range(20)
    ]
    assert states.count("cannot tell apart") >= 17


def test_a_race_over_settings_that_differ_chooses():
    found, table = raced(learned(np.linspace(0.1, 0.5, 12), noise=0.03, shape=(8, 2)))
    assert found.state == "chosen"
    assert table.settings[found.choice].epoch >= 10
    assert any("left behind by the race" in line for line in found.said)


def test_the_f_test_is_scipys_where_shots_have_nothing_in_common():
    from scipy.stats import f_oneway

    dice = np.random.default_rng(3)
    for shift in (0.0, 2.0):
        values = dice.standard_normal((5, 400))
        values[0] += shift
        assert differ(values[:, :, None]) == bool(f_oneway(*values).pvalue < 0.05)


def test_after_the_best_epoch_training_was_too_long_and_the_sentence_names_both():
    table = learned((0.1, 0.3, 0.6, 0.5, 0.35, 0.2))
    found = rank(table, FACTS, Rules(), {})
    assert found.trained == "too long"
    told = words.sentences(table, found, [])
    assert any("epoch 3 has surely learned more than epoch 6" in line for line in told)


def test_of_a_single_picture_an_epoch_nothing_is_said_of_the_length_of_training():
    found = rank(learned(RISING, shape=(1, 1)), FACTS, Rules(), {})
    assert found.trained == "unknown"


def test_a_picture_without_a_number_is_no_overtraining():
    facts = (*FACTS, Facts("brisque", "quality", "lower", "all"))
    table = learned([0.3] * 6, noise=0.1)
    dice = np.random.default_rng(1)
    shape = table.columns["ssim"].values.shape
    brisque = 20 + dice.standard_normal(shape)
    brisque[5, 0, 0] = np.nan
    columns = {**table.columns, "brisque": Column(brisque, 20 + np.zeros(shape[1:]))}
    found = rank(replace(table, columns=columns), facts, Rules(), {})
    assert 5 in found.vetoes
    assert found.overtrained_from is None
    assert found.trained != "too long"


def test_epochs_are_compared_at_strengths_that_all_of_them_have():
    table = learned([0.5, 0.4, 0.5, 0.4, 0.5, 0.45, 0.4])
    settings = [Setting(e, s) for e in (1, 2, 3) for s in (0.6, 1.2)]
    order = sorted([*settings, Setting(3, 0.9)])
    found = rank(replace(table, settings=tuple(order)), FACTS, Rules(), {})
    assert found.trained == "right"


def test_a_setting_alone_is_not_called_better_than_others():
    table = learned([0.3])
    found = rank(table, FACTS, Rules(), {})
    assert "no other setting to compare it with" in words.headline(table, found)


# Folders


def write(path, level, seed):
    dice = np.random.default_rng(seed)
    scene = dice.integers(0, 255, (8, 8, 3)).repeat(8, 0).repeat(8, 1)
    noise = np.random.default_rng(seed + 1).normal(0, 1 + 60 * level, scene.shape)
    Image.fromarray(np.clip(scene + noise, 0, 255).astype(np.uint8)).save(path)


def analysed(folder, control, rule="sweetspot", **more):
    from analysis.folder import analyse_folder

    return analyse_folder(find(folder, control, ""), rule=rule, to=None, **more)


def test_prompts_with_other_seeds_than_one_another_are_scored(tmp_path):
    pictures, controls = tmp_path / "pictures", tmp_path / "controls"
    pictures.mkdir()
    controls.mkdir()
    for prompt in range(4):
        for seed in (10 * prompt, 10 * prompt + 1):
            write(controls / f"p{prompt}_seed{seed}.png", 0, seed)
            for epoch in (1, 2, 3):
                write(pictures / f"epoch_{epoch}_p{prompt}_seed{seed}.png", 0.2 * epoch, seed)
    rows, _, told, code = analysed(pictures, controls)
    assert {row["status"] for row in rows} == {"ok"}
    assert "3 of 3 settings" in " ".join(told)
    assert code == 10, "noise spoils all of them, which needs numbers of all of them"


@pytest.mark.parametrize("rule", ["sweetspot", "ancestor"])
def test_one_picture_an_epoch_is_compared_whatever_its_seed(tmp_path, rule):
    for epoch in (1, 2, 3):
        write(tmp_path / f"epoch_{epoch:02}_seed{100 + epoch}.png", 0.2 * epoch, 5)
    control = tmp_path / "control" / "base.png"
    control.parent.mkdir()
    write(control, 0, 5)
    _, choice, told, code = analysed(tmp_path, control, rule)
    assert choice is not None, told
    assert any("different seeds" in line for line in told)
    assert code in (0, 10)


def test_a_damaged_first_picture_is_a_row_and_the_rest_is_compared(tmp_path):
    from analysis.beside import Beside

    pictures, training = tmp_path / "pictures", tmp_path / "training"
    training.mkdir()
    pictures.mkdir()
    write(training / "one.png", 0, 9)
    (pictures / "epoch_01.png").write_bytes(b"")
    for epoch in (2, 3):
        write(pictures / f"epoch_{epoch:02}.png", 0.2 * epoch, 5)
    beside = Beside(("ssim", "fidelity"), {}, training, None)
    rows, *_ = analysed(pictures, None, beside=beside)
    assert [row["status"] for row in rows].count("damaged") == 1


def test_samples_of_kohyas_scripts_are_read_by_their_names(tmp_path):
    for epoch in (1, 2):
        for prompt in (0, 1):
            name = f"fox_e{epoch:06}_{prompt:02}_2026010112000{epoch}_42.png"
            write(tmp_path / name, 0.2 * epoch, prompt)
    found = find(tmp_path, None, "")
    assert sorted((f.epoch, f.prompt, f.seed) for f in found.pictures) == [
        (1, 0, 42),
        (1, 1, 42),
        (2, 0, 42),
        (2, 1, 42),
    ]


def test_a_pattern_may_pass_over_what_varies(tmp_path):
    for epoch in (1, 2):
        write(tmp_path / f"fox-{epoch}-run{epoch * 7}x.png", 0.2 * epoch, 1)
    found = find(tmp_path, None, "fox-{epoch}-*")
    assert [f.epoch for f in found.pictures] == [1, 2]
