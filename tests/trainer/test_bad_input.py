"""Each kind of bad input: one clear sentence, an exit code of its class, nothing lost."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

import pytest

from tests.trainer.training import lora_bytes, tiny_job, train_here
from trainer import worker
from trainer.core.errors import ResourceError
from trainer.core.events import Ended, Warned
from trainer.job.run import Run


@pytest.fixture
def folder(pictures):
    return pictures(count=3)


@pytest.fixture
def job(tiny_sd, folder, tmp_path):
    return tiny_job(tiny_sd, folder, tmp_path / "runs", schedule={"epochs": 1, "accumulate": 1})


def ended(job) -> tuple[int, Ended, Run]:
    run = Run.create(job)
    code = worker.main(run.path)
    last = [told.event for told in run.events()][-1]
    assert isinstance(last, Ended)
    assert "\n" not in last.problem
    return code, last, run


def with_dataset(job, **changes):
    return job.model_copy(update={"dataset": job.dataset.model_copy(update=changes)})


def with_base(job, base):
    return job.model_copy(update={"model": job.model.model_copy(update={"base": str(base)})})


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_a_folder_that_is_not_there(job, tmp_path):
    code, end, _ = ended(with_dataset(job, folder=tmp_path / "nowhere"))
    assert (code, end.status) == (3, "failed")
    assert "nowhere" in end.where


def test_a_folder_without_pictures(job, tmp_path):
    (tmp_path / "empty").mkdir()
    code, end, _ = ended(with_dataset(job, folder=tmp_path / "empty"))
    assert code == 3
    assert end.hint


def test_a_folder_in_which_no_picture_can_be_read(job, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "a.png").write_bytes(b"this is no picture")
    code, end, _ = ended(with_dataset(job, folder=bad, trigger="sks"))
    assert code == 3
    assert "a.png" in end.problem + end.where


def test_a_jpeg_that_is_cut_short_is_named_and_left_as_it_is(job, folder):
    from PIL import Image

    whole = folder / "03.jpg"
    Image.effect_noise((96, 96), 80).convert("RGB").save(whole)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (folder / "03.txt").write_text("a fox", encoding="utf-8")
    before = hashes(folder)
    code, end, run = ended(job)
    said = [end.problem + end.where]
    said += [told.event.message for told in run.events() if isinstance(told.event, Warned)]
    assert code == 3
    assert any("03.jpg" in words for words in said)
    assert hashes(folder) == before


def test_a_bomb_of_fifty_thousand_pixels_a_side_is_refused_unopened(job, folder):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))
    (folder / "bomb.png").write_bytes(content + chunk(b"IEND", b""))
    (folder / "bomb.txt").write_text("a bomb", encoding="utf-8")
    code, _, run = ended(job)
    assert code == 0
    told = [t.event.message for t in run.events() if isinstance(t.event, Warned)]
    assert any(
        "bomb.png" in message and "larger than 100 megapixels" in message for message in told
    ), told


def test_a_caption_in_another_encoding(job, folder):
    (folder / "00.txt").write_bytes("ein schöner Fuchs".encode("latin-1"))
    code, end, _ = ended(job)
    assert code == 3
    assert "UTF-8" in end.problem + end.hint
    assert "00.txt" in end.where


def test_a_base_model_with_a_missing_file(job, tiny_sd, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_sd, broken)
    next((broken / "vae").glob("*.safetensors")).unlink()
    code, end, _ = ended(with_base(job, broken))
    assert code == 4
    assert end.where.endswith("vae")


def test_a_base_model_that_is_cut_short(job, tiny_sd, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_sd, broken)
    path = next((broken / "unet").glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:1000])
    code, end, _ = ended(with_base(job, broken))
    assert code == 4
    assert end.where == str(path)


@pytest.mark.parametrize("name", ["model.ckpt", "model.bin"])
def test_a_pickle_is_refused_and_the_reason_given(job, tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04.")
    code, end, _ = ended(with_base(job, tmp_path / name))
    assert code == 4
    assert "pickles, which can run code when opened" in end.problem


def test_a_model_folder_whose_weights_are_a_pickle(job, tiny_sd, tmp_path):
    broken = tmp_path / "pickled"
    shutil.copytree(tiny_sd, broken)
    next((broken / "unet").glob("*.safetensors")).unlink()
    (broken / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04.")
    code, end, _ = ended(with_base(job, broken))
    assert code == 4
    assert "pickle" in end.problem


def test_a_name_that_is_neither_a_folder_nor_on_the_hub(job):
    code, end, _ = ended(with_base(job, "nobody/nothing"))
    assert code == 4
    assert "nobody/nothing" in end.problem


def test_a_run_on_which_another_process_works(job):
    run = Run.create(job)
    with run.lock():
        assert worker.main(run.path) == 9


def test_targets_that_mean_nothing(job):
    adapter = job.adapter.model_copy(update={"targets": "attentoin"})
    code, end, _ = ended(job.model_copy(update={"adapter": adapter}))
    assert code == 2
    assert end.where == "adapter.targets"


def test_a_disk_that_fills_up_while_a_checkpoint_is_written_loses_nothing(job, monkeypatch):
    from trainer.engine import checkpoint

    schedule = job.schedule.model_copy(update={"epochs": 2})
    job = job.model_copy(update={"schedule": schedule})
    whole, _ = train_here(job)
    calls = []
    write = Path.write_bytes

    def full(path, data):
        calls.append(path)
        if path.name == "optimizer.safetensors" and len(calls) > 5:
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    code, end, run = ended(job)
    assert code == ResourceError.exit_code
    assert end.problem == "the disk is full"
    monkeypatch.undo()
    assert checkpoint.newest(run.checkpoints) is not None
    assert not list(run.checkpoints.glob("*.tmp-*"))
    assert worker.main(run.path) == 0
    assert lora_bytes(run) == lora_bytes(whole)


def mount_small_disk(folder: Path) -> bool:
    if shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def can_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        mounted = mount_small_disk(Path(folder))
        if mounted:
            subprocess.run(["umount", folder], check=True)
        return mounted


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a small disk")
def test_a_disk_that_is_really_full(job, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    assert mount_small_disk(disk)
    try:
        job = job.model_copy(update={"runs": disk, "cache": tmp_path / "cache"})
        run = Run.create(job)
        (disk / "ballast").write_bytes(b"0" * 330_000)
        code = worker.main(run.path)
    finally:
        subprocess.run(["umount", str(disk)], check=False)
    assert code == ResourceError.exit_code


def test_an_output_folder_that_cannot_be_written(job, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ResourceError, match="cannot be written"):
        Run.create(job.model_copy(update={"runs": tmp_path / "file" / "runs"}))
