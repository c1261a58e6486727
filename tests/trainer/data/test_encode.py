import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.trainer.data.making import Encoder, dataset, picture, put
from trainer.core.device import Plan
from trainer.core.errors import DatasetError
from trainer.data.bucket import Framing, apply, fit
from trainer.data.encode import cache_captions, cache_latents
from trainer.data.folder import scan
from trainer.data.image import read

ROOT = Path(__file__).parents[3]

ENCODING = """
import sys, time
from pathlib import Path
from tests.trainer.data.making import Encoder, dataset
from trainer.data import cache
from trainer.data.bucket import Framing, fit
from trainer.data.encode import cache_latents
from trainer.data.folder import scan
cache.MOST_ITEMS = 3
class Slow(Encoder):
    def encode_images(self, pixels):
        print(self.pictures, flush=True)
        time.sleep(0.02)
        return super().encode_images(pixels)
config = dataset(Path(sys.argv[1]), flip=True)
framed, _ = fit(scan(config).pictures, Framing(64, 16))
cache_latents(Slow(), framed, config, Path(sys.argv[2]))
"""


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    for number, size in enumerate([(64, 64), (96, 48), (64, 64), (40, 90), (64, 64), (96, 48)]):
        put(folder / f"{number}.png", seed=number, size=size, caption=f"picture {number}")
    return folder


def framed_of(config):
    return fit(scan(config).pictures, Framing(64, 16))[0]


def encode(folder, cache, model=None, **settings):
    config = dataset(folder, **settings)
    framed = framed_of(config)
    model = model or Encoder()
    return cache_latents(model, framed, config, cache), framed, model


def test_latents_are_what_the_model_makes_of_the_cut(pictures, tmp_path):
    latents, framed, model = encode(pictures, tmp_path / "cache", flip=True)
    for one in framed:
        image = read(one.picture.path, background="#ffffff", max_megapixels=1)
        for flip in (False, True):
            with torch.inference_mode():
                wanted = model.encode_images(apply(image, one.frame, flip=flip)[None])[0]
            found = latents.of(one.picture, one.frame, flip=flip)
            assert found.dtype == torch.float32
            assert torch.equal(found, wanted)


def test_latents_can_be_trained_on(pictures, tmp_path):
    latents, framed, _ = encode(pictures, tmp_path / "cache")
    weight = torch.ones(1, requires_grad=True)
    (latents.of(framed[0].picture, framed[0].frame) * weight).sum().backward()
    assert weight.grad is not None


def test_nothing_is_encoded_twice(pictures, tmp_path):
    first = encode(pictures, tmp_path / "cache")[2]
    again = encode(pictures, tmp_path / "cache")[2]
    flipped = encode(pictures, tmp_path / "cache", flip=True)[2]
    assert (first.pictures, again.pictures, flipped.pictures) == (6, 0, 12)


def test_equal_files_are_encoded_once_whatever_they_are_called(pictures, tmp_path):
    copy = pictures / "copy.png"
    copy.write_bytes((pictures / "0.png").read_bytes())
    (pictures / "copy.txt").write_text("x")
    assert encode(pictures, tmp_path / "cache")[2].pictures == 6


def test_a_picture_that_is_edited_is_encoded_anew(pictures, tmp_path):
    encode(pictures, tmp_path / "cache")
    picture(99, (64, 64)).save(pictures / "0.png")
    latents, framed, model = encode(pictures, tmp_path / "cache")
    assert model.pictures == 1
    assert latents.of(framed[0].picture, framed[0].frame).shape == (2, 4, 8, 8)


def test_other_weights_another_cut_or_background_share_nothing(pictures, tmp_path):
    encode(pictures, tmp_path / "cache")
    other = Encoder()
    other.image_key = "other weights"
    assert encode(pictures, tmp_path / "cache", other)[2].pictures == 6
    assert encode(pictures, tmp_path / "cache", background="#000000")[2].pictures == 6
    config = dataset(pictures)
    model = Encoder()
    smaller, _ = fit(scan(config).pictures, Framing(32, 16))
    cache_latents(model, smaller, config, tmp_path / "cache")
    assert model.pictures == 6


def test_a_picture_that_changes_meanwhile_is_refused(pictures, tmp_path):
    config = dataset(pictures)
    framed = framed_of(config)
    picture(99, (64, 64)).save(pictures / "0.png")
    with pytest.raises(DatasetError, match="has changed") as caught:
        cache_latents(Encoder(), framed, config, tmp_path / "cache")
    assert caught.value.where.endswith("0.png")


def test_a_picture_that_is_only_half_there_stops_the_encoding_by_name(pictures, tmp_path):
    whole = (pictures / "1.png").read_bytes()
    (pictures / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError) as caught:
        encode(pictures, tmp_path / "cache")
    assert caught.value.where.endswith("1.png")


def test_latents_that_are_no_numbers_are_refused_by_name(pictures, tmp_path):
    model = Encoder()
    model.layer.weight.data.fill_(torch.inf)
    with pytest.raises(DatasetError, match="NaN") as caught:
        encode(pictures, tmp_path / "cache", model)
    assert caught.value.where.endswith("0.png")
    assert "fp32" in caught.value.hint


def test_on_other_devices_the_same_pictures_go_together_again(pictures, tmp_path):
    class Remote(Encoder):
        plan = Plan("meta", "fp32")
        seen: list[int]

        def encode_images(self, pixels):
            self.seen = [*getattr(self, "seen", []), len(pixels)]
            return super().encode_images(pixels)

    _, _, model = encode(pictures, tmp_path / "cache", Remote())
    assert model.seen == [3, 2, 1]
    for shard in (tmp_path / "cache").rglob("*.safetensors"):
        shard.unlink()
    config = dataset(pictures)
    some = framed_of(config)
    cache_latents(Encoder(), some[:1], config, tmp_path / "cache")
    assert encode(pictures, tmp_path / "cache", Remote())[2].seen == [3, 2, 1]


def test_progress_counts_pictures_to_the_end(pictures, tmp_path):
    told = []
    config = dataset(pictures)
    framed = framed_of(config)
    cache_latents(
        Encoder(),
        framed,
        config,
        tmp_path / "cache",
        lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (6, 6)


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize("after", [2, 5, 8])
def test_encoding_that_is_killed_and_resumed_gives_the_same_bits(pictures, tmp_path, after):
    wanted, framed, _ = encode(pictures, tmp_path / "whole", flip=True)
    command = [sys.executable, "-c", ENCODING, str(pictures), str(tmp_path / "killed")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    for _ in range(after):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    found, _, model = encode(pictures, tmp_path / "killed", flip=True)
    assert 12 - after <= model.pictures <= 12
    for one in framed:
        for flip in (False, True):
            place = (one.picture, one.frame)
            assert torch.equal(wanted.of(*place, flip=flip), found.of(*place, flip=flip))


def test_captions_are_encoded_once_each_and_come_back_without_the_batch(tmp_path):
    model = Encoder()
    captions = cache_captions(model, ["a dog", "a cat", "a dog", ""], tmp_path)
    assert model.captions == 3
    for caption in ("a dog", "a cat", ""):
        with torch.inference_mode():
            wanted = model.encode_captions((caption,))
        found = captions.of(caption)
        assert found.keys() == wanted.keys()
        for name, rows in wanted.items():
            assert found[name].dtype == rows.dtype
            assert torch.equal(found[name], rows[0])


def test_captions_are_shared_between_runs_and_not_between_encoders(tmp_path):
    cache_captions(Encoder(), ["a", "b"], tmp_path)
    model, other = Encoder(), Encoder()
    other.text_key = "other weights"
    assert cache_captions(model, ["b", "c"], tmp_path).of("b")
    cache_captions(other, ["b"], tmp_path)
    assert (model.captions, other.captions) == (1, 1)


def test_a_caption_that_is_no_number_is_refused_by_its_words(tmp_path):
    class Broken(Encoder):
        def encode_captions(self, captions):
            return {"x": torch.full((len(captions), 2), torch.nan)}

    with pytest.raises(DatasetError, match="'a dog'"):
        cache_captions(Broken(), ["a dog"], tmp_path)


def test_no_captions_are_no_work(tmp_path):
    assert cache_captions(Encoder(), [], tmp_path).names == ()
