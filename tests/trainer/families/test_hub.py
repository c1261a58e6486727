"""Models from the hub: told before they are fetched, refused in a sentence, never asked offline."""

import json
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from app.fetching import fetched, stay_offline
from tests.trainer.families import first_code
from trainer.core.errors import ModelError, ResourceError
from trainer.families import hub
from trainer.families.base import families
from trainer.families.finding import config_of, find_model, kind_of


class Hub:
    """Stands where huggingface_hub's functions do: one repository, and what was asked of it."""

    def __init__(self, folder=None, *, gated=False, absent=False, licence="openrail++"):
        self.folder, self.gated, self.absent, self.licence = folder, gated, absent, licence
        self.here, self.asked = False, []

    def model_info(self, name, *, files_metadata):
        assert files_metadata
        self.asked.append("info")
        if self.absent:
            raise RepositoryNotFoundError("404", response=answer(404))
        files = [f for f in sorted(self.folder.rglob("*")) if f.is_file()]
        listed = [
            SimpleNamespace(rfilename=f.relative_to(self.folder).as_posix(), size=f.stat().st_size)
            for f in files
        ]
        card = {"license": self.licence}
        return SimpleNamespace(siblings=listed, gated=self.gated, card_data=card)

    def auth_check(self, name):
        self.asked.append("licence")
        if self.gated:
            raise GatedRepoError("403", response=answer(403))

    def snapshot_download(self, name, *, allow_patterns, local_files_only=False):
        if local_files_only:
            if self.here:
                return str(self.folder)
            raise LocalEntryNotFoundError("no")
        self.asked.append("fetch")
        self.here, self.patterns = True, allow_patterns
        return str(self.folder)

    def hf_hub_download(self, name, file, *, local_files_only=False):
        if local_files_only and not self.here:
            raise LocalEntryNotFoundError("no")
        if not local_files_only:
            self.asked.append(f"fetch {file}")
            self.here = True
        return str(self.folder / file)


def answer(code):
    return SimpleNamespace(status_code=code, headers={}, request=None, json=dict, text="")


@pytest.fixture
def stand_in(monkeypatch):
    def put(*args, **more):
        stands = Hub(*args, **more)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: stands)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", stands.snapshot_download)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", stands.hf_hub_download)
        monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        return stands

    return put


def test_size_and_licence_are_told_before_anything_is_fetched(stand_in, tiny_sd):
    stands, told = stand_in(tiny_sd), []
    config = families["sd"].model_validate({"base": "someone/tiny"})
    fetched(config, lambda line: told.append((line, list(stands.asked))))
    ((line, asked_before),) = told
    assert "someone/tiny: 0.00 GB in" in line
    assert "licence openrail++" in line
    assert asked_before == ["info"]
    assert stands.asked == ["info", "fetch"]
    assert find_model(config).path == tiny_sd
    fetched(config, told.append)
    assert len(told) == 1


def test_a_licence_that_was_not_accepted_is_named_before_anything_is_fetched(stand_in, tiny_sd):
    stands = stand_in(tiny_sd, gated="manual")
    with pytest.raises(ModelError, match="licence of 'someone/tiny' must be accepted") as told:
        find_model(families["sd"].model_validate({"base": "someone/tiny"}))
    assert "accept it on https://huggingface.co/someone/tiny, then `hf auth login`" in str(
        told.value
    )
    assert stands.asked == ["info", "licence"]


def test_a_repository_that_is_not_there_is_named(stand_in):
    stand_in(absent=True)
    with pytest.raises(ModelError, match="there is no folder 'someone/nothing'"):
        find_model(families["sd"].model_validate({"base": "someone/nothing"}))


def test_what_can_name_no_repository_is_never_asked_for(stand_in, tmp_path):
    stands = stand_in(tmp_path)
    with pytest.raises(ModelError, match="there is no folder"):
        find_model(families["sd"].model_validate({"base": "../models/sd15/x/y"}))
    assert stands.asked == []


def test_a_file_of_a_repository_is_fetched_alone(stand_in, tiny_sd, tmp_path):
    folder = tmp_path / "repository"
    first_code.write(first_code.sd_state(tiny_sd), folder / "model.safetensors")
    first_code.write(first_code.sd_state(tiny_sd), folder / "other.safetensors")
    stands = stand_in(folder)
    config = families["sd"].model_validate(
        {"base": "someone/one/model.safetensors", "parts_from": str(tiny_sd)}
    )
    assert find_model(config).path == folder / "model.safetensors"
    assert stands.asked == ["info", "fetch model.safetensors"]


def test_a_repository_of_single_files_says_how_to_name_one(stand_in, tiny_sd, tmp_path):
    first_code.write(first_code.sd_state(tiny_sd), tmp_path / "repo" / "model.safetensors")
    stand_in(tmp_path / "repo")
    with pytest.raises(ModelError) as told:
        find_model(families["sd"].model_validate({"base": "someone/one"}))
    assert "someone/one/model.safetensors" in told.value.hint


def test_of_a_repository_with_the_rest_only_the_lacking_parts_are_fetched(
    stand_in, tiny_flux, tmp_path
):
    state = first_code.flux(first_code.weights(tiny_flux, "transformer"))
    file = first_code.write(state, tmp_path / "flux.safetensors")
    stands = stand_in(tiny_flux)
    find_model(families["flux"].model_validate({"base": str(file), "parts_from": "someone/flux"}))
    assert "text_encoder_2/model.safetensors" in stands.patterns
    assert not any(pattern.startswith("transformer/") for pattern in stands.patterns)


def as_fp16(folder, to, *, plain=()):
    """A copy whose weights have the names of the variant fp16; parts in `plain` have both."""
    for file in sorted(folder.rglob("*.*")):
        copy = to / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix != ".safetensors" or file.parent.name in plain:
            copy.write_bytes(file.read_bytes())
        if file.suffix == ".safetensors":
            copy.with_suffix(".fp16.safetensors").write_bytes(file.read_bytes())
    return to


def test_the_variant_fp16_is_fetched_where_a_part_has_no_other(stand_in, tiny_sd, tmp_path):
    stands = stand_in(as_fp16(tiny_sd, tmp_path / "half", plain=("unet",)))
    config = families["sd"].model_validate({"base": "someone/tiny"})
    assert find_model(config).path == tmp_path / "half"
    weights = {p for p in stands.patterns if p.endswith(".safetensors") and "*" not in p}
    assert "vae/diffusion_pytorch_model.fp16.safetensors" in weights
    assert "vae/diffusion_pytorch_model.fp16-*.safetensors" in stands.patterns
    assert "unet/diffusion_pytorch_model.safetensors" in weights
    assert "unet/diffusion_pytorch_model.fp16.safetensors" not in weights
    find_model(config)
    assert stands.asked == ["info", "fetch"]


def test_a_download_that_lacks_a_shard_is_gone_on_with(stand_in, tiny_sd, tmp_path):
    folder = as_fp16(tiny_sd, tmp_path / "model", plain=("unet", "vae", "text_encoder"))
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model.safetensors"}}
    (folder / "text_encoder" / "model.safetensors").rename(
        folder / "text_encoder" / "model-00001-of-00002.safetensors"
    )
    (folder / "text_encoder" / "model.safetensors.index.json").write_text(json.dumps(index))
    stands = stand_in(folder)
    stands.here = True
    hub.snapshot("someone/tiny", families["sd"].parts)
    assert stands.asked == ["info", "fetch"]


@pytest.mark.parametrize("base", ["someone/tiny", "someone/tiny/model.safetensors"])
def test_offline_the_hub_is_never_asked(stand_in, tiny_sd, monkeypatch, base):
    stands = stand_in(tiny_sd)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    stay_offline()
    with pytest.raises(ModelError, match="the network is not asked") as told:
        find_model(families["sd"].model_validate({"base": base}))
    assert "without --offline" in told.value.hint
    assert stands.asked == []


def test_a_full_disk_is_named_before_the_download(stand_in, tiny_sd, monkeypatch):
    stands = stand_in(tiny_sd)
    monkeypatch.setattr("trainer.core.files.free_space", lambda folder: 10)
    with pytest.raises(ResourceError, match="someone/tiny needs"):
        find_model(families["sd"].model_validate({"base": "someone/tiny"}))
    assert "fetch" not in stands.asked


def test_a_download_that_was_cut_off_is_gone_on_with(stand_in, tiny_sd, tmp_path):
    cut = first_code.without_weights(tiny_sd, tmp_path / "cut")
    stands = stand_in(cut)
    stands.here = True
    hub.snapshot("someone/tiny", families["sd"].parts)
    assert stands.asked == ["info", "fetch"]


def test_the_family_is_told_from_the_model(
    stand_in, tiny_sd, tiny_sdxl, tiny_flux, tiny_sd3, tmp_path
):
    file = first_code.write(first_code.sdxl_state(tiny_sdxl), tmp_path / "x.safetensors")
    assert kind_of("demo") == "sd"
    assert [kind_of(str(f)) for f in (tiny_sd, tiny_sdxl, tiny_flux, tiny_sd3)] == [
        "sd",
        "sdxl",
        "flux",
        "sd3",
    ]
    assert kind_of(str(file)) == "sdxl"
    assert config_of(str(file)).kind == "sdxl"
    stands = stand_in(tiny_flux)
    assert kind_of("someone/flux") == "flux"
    assert stands.asked == ["info", "fetch model_index.json"]


def test_the_family_of_what_is_no_model_is_not_guessed(tmp_path):
    with pytest.raises(ModelError, match="no model folder"):
        kind_of(str(tmp_path))
    with pytest.raises(ModelError, match="no such file"):
        kind_of(str(tmp_path / "absent.safetensors"))
