"""What other trainers' settings become."""

import json

import pytest

from tests.trainer.job.importers import foreign
from trainer.job.file import merge, parse_job
from trainer.job.importers.base import import_config, importers

NAMES = ("kohya_ss", "sd-scripts", "datasets", "ai-toolkit", "OneTrainer", "SimpleTuner", "LoRA")


@pytest.fixture
def files(tmp_path):
    return foreign.write_all(tmp_path)


@pytest.fixture
def imported(files):
    return {name: import_config(path) for name, path in files.items()}


def changed(tmp_path, **changes):
    path = tmp_path / "changed.json"
    path.write_text(json.dumps({**foreign.KOHYA_GUI, **changes}))
    return import_config(path)


def line(found, key):
    return next(line for line in found.account if line.key == key)


# Every file, every key


@pytest.mark.parametrize("name", NAMES)
def test_its_values_make_a_job(imported, name):
    folder = {"dataset": {"folder": "pictures"}}
    parse_job(merge(folder, imported[name].job_values))


@pytest.mark.parametrize("name", NAMES)
def test_the_counts_add_up_to_the_lines(imported, name):
    found = imported[name]
    assert sum(found.counts.values()) == len(found.account)
    assert len({line.key for line in found.account}) == len(found.account)


@pytest.mark.parametrize("name", NAMES)
def test_every_line_says_something(imported, name):
    assert all(line.told and line.value for line in imported[name].account)


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_told(imported, name):
    assert "do-not-show-me" not in repr(imported[name])


@pytest.mark.parametrize("name", NAMES)
def test_private_values_stand_apart(imported, name):
    public, private = imported[name].values, imported[name].private
    assert "folder" not in public.get("dataset", {})
    assert "base" not in public.get("model", {})
    assert name in ("LoRA",) or private


def test_each_importer_is_found_by_looking():
    assert len(importers()) == 6


def test_only_what_is_unknown_is_reported(imported):
    unknown = {
        line.key for one in imported.values() for line in one.account if line.kind == "reported"
    }
    assert unknown == {"additional_parameters.frobnicate", "ss_new_thing"}


# Single trainers


def test_kohya_ss_writes_numbers_as_texts_and_nothing_as_zero(imported):
    values = imported["kohya_ss"].job_values
    assert values["adapter"] == {"kind": "lora", "rank": 16, "alpha": 8.0, "targets": "linear"}
    assert values["schedule"]["steps"] == 200
    assert values["schedule"]["warmup"] == 0.1
    assert "seed" not in values["schedule"]
    assert values["optimizer"]["learning_rate"] == 2e-4
    assert values["text_encoder"] == {"train": True, "learning_rate": 5e-5}
    assert values["name"] == "my-dog"


def test_additional_parameters_are_read_and_have_the_last_word(imported):
    found = imported["kohya_ss"]
    assert found.job_values["model"]["noise"]["min_snr_gamma"] == 7
    assert found.job_values["schedule"]["clip"] == 0.5
    assert "frobnicate" in " ".join(one.key for one in found.account if one.kind == "reported")


def test_optimizer_arguments_are_keys_of_their_own(imported):
    optimizer = imported["kohya_ss"].job_values["optimizer"]
    assert optimizer["weight_decay"] == 0.1
    assert (optimizer["beta1"], optimizer["beta2"]) == (0.9, 0.99)
    assert optimizer["eight_bit"] is True
    assert line(imported["kohya_ss"], "optimizer_args.eps").kind == "explained"


def test_prompts_come_without_their_switches(imported):
    samples = imported["kohya_ss"].job_values["samples"]
    assert samples["prompts"] == ["a sks dog"]
    assert (samples["negative"], samples["steps"], samples["guidance"]) == ("blurry", 20, 6.5)


def test_a_kohya_folder_tells_repeats_and_words_when_it_is_there(tmp_path):
    (tmp_path / "img" / "10_sks dog").mkdir(parents=True)
    dataset = changed(tmp_path).job_values["dataset"]
    assert dataset["folder"] == str(tmp_path / "img")
    assert (dataset["trigger"], dataset["class_word"]) == ("sks", "dog")
    assert "repeats" not in dataset


def test_a_kohya_folder_that_is_not_there_tells_them_by_its_name(tmp_path):
    dataset = changed(tmp_path, train_data_dir=r"D:\pictures\7_sks dog").job_values["dataset"]
    assert (dataset["trigger"], dataset["class_word"], dataset["repeats"]) == ("sks", "dog", 7)


def test_sections_of_sd_scripts_are_passed_over(imported):
    found = imported["sd-scripts"]
    values = found.job_values
    assert values["model"]["kind"] == "sdxl"
    assert values["schedule"]["warmup"] == 0.1
    assert "text_encoder" not in values
    assert line(found, "network.network_dim").ours == "adapter.rank"


def of_sd_scripts(tmp_path, *, without=(), module="", more=""):
    text = foreign.SD_SCRIPTS.replace("networks.lora", module or "networks.lora")
    kept = [line for line in text.splitlines() if not line.startswith(tuple(without))]
    path = tmp_path / "words.toml"
    path.write_text("\n".join([*kept, more]))
    return import_config(path)


CACHED = "cache_text_encoder_outputs"
ONLY = "network_train_unet_only"


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("networks.lora", (CACHED, ONLY)),
        ("networks.lora_sd3", (ONLY,)),
        ("networks.lora_flux", (ONLY,)),
    ],
)
def test_text_encoders_learn_in_every_family_as_sd_scripts_has_it(tmp_path, module, without):
    found = of_sd_scripts(tmp_path, module=module, without=without)
    assert found.job_values["text_encoder"] == {"train": True, "learning_rate": 1e-4}
    assert any(one.ours.startswith("text_encoder.train") for one in found.assumed)
    parse_job(merge({"dataset": {"folder": "pictures"}}, found.job_values))


@pytest.mark.parametrize("module", ["networks.lora", "networks.lora_sd3", "networks.lora_flux"])
def test_text_encoders_do_not_learn_where_the_denoiser_alone_is_asked_for(tmp_path, module):
    assert "text_encoder" not in of_sd_scripts(tmp_path, module=module).job_values


def test_words_of_sdxl_that_are_cached_and_learn_are_suspicious(tmp_path):
    found = of_sd_scripts(tmp_path, without=(ONLY,))
    assert "text_encoder" not in found.job_values
    told = line(found, f"training.{CACHED}")
    assert told.kind == "suspicious"
    assert "sd-scripts refuses it" in told.told


def test_words_learn_at_the_general_rate_and_not_at_the_denoisers(tmp_path):
    found = of_sd_scripts(tmp_path, without=(CACHED, ONLY), more="unet_lr = 3e-4")
    assert found.job_values["optimizer"]["learning_rate"] == 3e-4
    assert found.job_values["text_encoder"]["learning_rate"] == 1e-4


def test_a_header_that_does_not_tell_whether_words_learned_says_so(imported):
    assert imported["LoRA"].job_values["text_encoder"] == {"train": False}
    assert any("lora_te" in one.told for one in imported["LoRA"].assumed)


def test_the_datasets_file_is_read_and_accounted_for_too(imported):
    found = imported["sd-scripts"]
    assert [path.name for path in found.files] == ["train.toml", "sets.toml"]
    assert found.job_values["dataset"]["trigger"] == "sks"
    assert found.job_values["dataset"]["repeats"] == 4
    assert found.job_values["prior"]["enabled"] is True
    assert line(found, "dataset_config.general.keep_tokens").ours == "dataset.keep_tags"


def test_ai_toolkit_takes_the_rank_for_alpha_in_flux(imported):
    found = imported["ai-toolkit"]
    assert found.job_values["adapter"]["alpha"] == 16
    assert line(found, "config.process.0.network.linear_alpha").kind == "suspicious"


def test_of_several_sizes_the_largest_is_taken_and_told(imported):
    found = imported["ai-toolkit"]
    assert found.job_values["model"]["resolution"] == 768
    assert line(found, "config.process.0.datasets.0.resolution").kind == "suspicious"


def test_prompts_hold_the_trigger_word(imported):
    assert imported["ai-toolkit"].private["samples"]["prompts"][0] == "p3rs0n at the beach"


def test_onetrainer_leaves_its_defaults_out_and_they_are_filled_in(imported):
    found = imported["OneTrainer"]
    assert found.job_values["adapter"]["alpha"] == 1.0
    assert any(one.ours.startswith("adapter.alpha") for one in found.assumed)
    assert found.job_values["model"]["noise"]["min_snr_gamma"] == 4.0


def test_one_folder_is_trained_and_others_are_told(imported):
    found = imported["OneTrainer"]
    assert found.job_values["dataset"]["repeats"] == 3
    assert line(found, "concepts.1.path").kind == "suspicious"


def test_simpletuners_backends_are_read_too(imported):
    found = imported["SimpleTuner"]
    assert found.job_values["dataset"]["repeats"] == 5
    assert found.job_values["model"]["resolution"] == 1024
    assert found.job_values["memory"]["base"] == "int8"


def test_a_header_tells_what_was_asked(imported):
    values = imported["LoRA"].job_values
    assert values["model"]["kind"] == "sdxl"
    assert values["adapter"]["targets"] == "linear+conv"
    assert values["optimizer"]["weight_decay"] == 0.1
    assert values["dataset"] == {"trigger": "sks", "class_word": "dog"}


def test_a_file_of_our_own_gives_its_job_back(tmp_path):
    job = {"model": {"kind": "sdxl", "noise": {"min_snr_gamma": 5.0}}, "adapter": {"rank": 4}}
    header = {"sweetspot.job": json.dumps(job), "ss_network_dim": "99"}
    found = import_config(foreign.header_file(tmp_path / "own.safetensors", header))
    assert found.job_values == job


# What is odd


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"flux1_checkbox": True, "LoRA_type": "Flux1", "additional_parameters": ""},
         "min_snr_gamma", "passes over it silently"),
        ({"flux1_checkbox": True, "additional_parameters": ""}, "noise_offset", "means nothing"),
        ({"network_alpha": 0}, "network_alpha", "alpha"),
        ({"unet_lr": 1.0}, "unet_lr", "Prodigy"),
        ({"unet_lr": 1e-4, "network_alpha": 1}, "unet_lr", "tuned for alpha / rank"),
        ({"unet_lr": 2e-3, "network_alpha": 16}, "unet_lr", "acts like"),
        ({"network_alpha": 128}, "network_alpha", "times the rank"),
        ({"LoRA_type": "LyCORIS/LoHa", "network_dim": 64}, "network_dim", "square"),
        ({"network_dim": 100000}, "network_dim", "not possible"),
        ({"network_dim": "many"}, "network_dim", "no number"),
        ({"lr_scheduler": "constant"}, "lr_warmup", "no warm-up"),
        ({"clip_skip": 2}, "clip_skip", "last layer"),
        ({"caption_extension": ".caption"}, "caption_extension", ".txt"),
        ({"pretrained_model_name_or_path": "a.ckpt"}, "pretrained_model_name_or_path", "pickle"),
        ({"reg_data_dir": "reg"}, "reg_data_dir", "needs words"),
        ({"masked_loss": True}, "masked_loss", "masks"),
    ],
)  # fmt: skip
def test_what_is_odd_is_called_suspicious(tmp_path, changes, key, words):
    found = line(changed(tmp_path, **changes), key)
    assert found.kind == "suspicious", found.told
    assert words in found.told


def test_a_rate_for_prodigy_is_not_handed_to_adamw(tmp_path):
    found = changed(tmp_path, optimizer="Prodigy", unet_lr=1.0, optimizer_args="")
    assert "learning_rate" not in found.job_values.get("optimizer", {})
    assert line(found, "optimizer").told.startswith("unsupported: Prodigy; AdamW")


@pytest.mark.parametrize("kind", ["LyCORIS/LoKr", "LyCORIS/iA3", "Kohya DyLoRA"])
def test_a_method_that_is_not_there_is_named_with_what_is_used_instead(tmp_path, kind):
    told = line(changed(tmp_path, LoRA_type=kind), "LoRA_type").told
    assert told.startswith("unsupported") and "plain LoRA" in told  # noqa: PT018


def test_a_model_that_is_not_there_is_not_trained_as_another(tmp_path):
    found = changed(tmp_path, anima_checkbox=True)
    assert "Anima" in found.problems["model.kind"]


def test_a_key_that_stands_twice_is_told_twice(tmp_path):
    path = tmp_path / "twice.json"
    text = json.dumps(foreign.KOHYA_GUI)
    path.write_text(text[:-1] + ', "network_dim": 4}')
    found = import_config(path)
    assert found.job_values["adapter"]["rank"] == 4
    assert any("stands there twice" in one.told for one in found.account)


def test_a_second_file_that_is_something_else_is_not_shown(tmp_path):
    (tmp_path / "sets.toml").write_text('password = "hush"\n')
    (tmp_path / "train.toml").write_text(foreign.SD_SCRIPTS)
    found = import_config(tmp_path / "train.toml")
    assert "hush" not in repr(found)
    assert "something else" in line(found, "training.dataset_config").told


def test_another_machines_share_is_never_looked_at(tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr("pathlib.Path.exists", lambda self: looked.append(self) or False)
    changed(tmp_path, train_data_dir=r"\\evil\share\10_a b", reg_data_dir="//evil/share")
    assert not [path for path in looked if "evil" in str(path)]


def test_a_header_s_optimizer_keeps_both_betas(tmp_path):
    path = foreign.header_file(tmp_path / "dog.safetensors", foreign.HEADER)
    told = import_config(path).job_values["optimizer"]
    assert (told["beta1"], told["beta2"]) == (0.9, 0.99)


def test_a_header_s_arguments_that_are_no_texts_are_accounted_for(tmp_path):
    strange = {**foreign.HEADER, "ss_network_args": "[[]]"}
    path = foreign.header_file(tmp_path / "dog.safetensors", strange)
    assert "ss_network_args.0" in [line.key for line in import_config(path).account]
