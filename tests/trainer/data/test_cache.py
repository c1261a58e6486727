import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trainer.core.errors import ResourceError, RunError
from trainer.core.files import hash_text
from trainer.data import cache as cache_module
from trainer.data.cache import Cache

ROOT = Path(__file__).parents[3]

WRITER = """
import sys, time
from pathlib import Path
import torch
from trainer.core.files import hash_text
from trainer.data import cache as module
from trainer.data.cache import Cache
module.MOST_ITEMS = 5
folder, first, last, pause = Path(sys.argv[1]), *map(int, sys.argv[2:4]), float(sys.argv[4])
with Cache(folder, "space") as cache:
    for number in range(first, last):
        key = hash_text(str(number))
        if key not in cache:
            cache.put(key, torch.full((50, 50), float(number)))
            print(number, flush=True)
            time.sleep(pause)
"""


def writer(folder, first, last, pause=0.0):
    command = [sys.executable, "-c", WRITER, str(folder), str(first), str(last), str(pause)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def shards(folder):
    return sorted((folder / "space").glob("*.safetensors"))


def test_tensors_come_back_bit_by_bit_in_every_format(tmp_path):
    kinds = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8]
    wanted = {hash_text(str(k)): (torch.randn(3, 4) * 9).abs().to(k) for k in kinds}
    wanted[hash_text("scalar")] = torch.tensor(3.5)
    wanted[hash_text("none")] = torch.empty(0, 4)
    wanted[hash_text("strided")] = torch.randn(4, 6).T
    with Cache(tmp_path, "space") as cache:
        for key, tensor in wanted.items():
            cache.put(key, tensor)
            assert torch.equal(cache.get(key), tensor)
    with Cache(tmp_path, "space") as again:
        assert len(again) == len(wanted)
        for key, tensor in wanted.items():
            assert key in again
            assert again.get(key).dtype == tensor.dtype
            assert torch.equal(again.get(key), tensor)


def test_shards_are_plain_safetensors(tmp_path):
    with Cache(tmp_path, "space") as cache:
        cache.put("aa", torch.arange(3))
    assert load_file(shards(tmp_path)[0])["aa"].tolist() == [0, 1, 2]


def test_what_is_put_or_got_is_a_copy(tmp_path):
    with Cache(tmp_path, "space") as cache:
        tensor = torch.zeros(3)
        cache.put("aa", tensor)
        tensor += 1
        cache.get("aa").add_(5)
        assert cache.get("aa").tolist() == [0, 0, 0]
        cache.flush()
        cache.get("aa").add_(5)
        assert cache.get("aa").tolist() == [0, 0, 0]


def test_namespaces_do_not_see_each_other(tmp_path):
    with Cache(tmp_path, "one") as one:
        one.put("aa", torch.ones(1))
    with Cache(tmp_path, "two") as two:
        assert "aa" not in two


@pytest.mark.parametrize(
    ("limit", "value"), [("MOST_ITEMS", 4), ("MOST_BYTES", 1600), ("MOST_SECONDS", -1.0)]
)
def test_items_reach_the_disk_by_count_size_and_time(tmp_path, monkeypatch, limit, value):
    monkeypatch.setattr(cache_module, limit, value)
    with Cache(tmp_path, "space") as cache:
        for number in range(4):
            cache.put(f"{number}", torch.zeros(100))
        assert shards(tmp_path)


def test_more_shards_than_open_files_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "_OPEN_FILES", 3)
    with Cache(tmp_path, "space") as cache:
        for number in range(20):
            cache.put(f"{number}", torch.tensor([number]))
            cache.flush()
        for number in [*range(20), *range(20)]:
            assert cache.get(f"{number}").item() == number
        assert len(cache._handles) == 3


@pytest.mark.parametrize("left", [0, 5, 60, 0.5, 0.99])
def test_a_shard_that_is_cut_off_is_left_aside_with_a_word(tmp_path, left):
    with Cache(tmp_path, "space") as cache:
        cache.put("aa", torch.zeros(1000))
        cache.flush()
        cache.put("bb", torch.ones(10))
    damaged = next(path for path in shards(tmp_path) if path.stat().st_size > 1000)
    size = damaged.stat().st_size
    os.truncate(damaged, int(size * left) if isinstance(left, float) else left)
    with Cache(tmp_path, "space") as again:
        assert "aa" not in again
        assert again.get("bb").sum() == 10
        assert len(again.warnings) == 1
        assert str(damaged) in again.warnings[0]
        again.put("aa", torch.zeros(1000))
        again.flush()
        assert again.get("aa").shape == (1000,)


@pytest.mark.parametrize("header", [b"[]", b'{"aa": 5}', b'{"__metadata__": {}}x', b"\xff\xfe"])
def test_a_shard_with_a_foreign_header_is_left_aside(tmp_path, header):
    (tmp_path / "space").mkdir()
    path = tmp_path / "space" / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with Cache(tmp_path, "space") as cache:
        assert len(cache.warnings) == 1


def test_a_changed_byte_is_noticed_on_reading_and_made_again_on_resume(tmp_path):
    with Cache(tmp_path, "space") as cache:
        cache.put("aa", torch.zeros(1000))
    path = shards(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    with Cache(tmp_path, "space") as again, pytest.raises(RunError, match="damaged"):
        again.get("aa")
    with Cache(tmp_path, "space") as third:
        assert "aa" not in third


def test_a_shard_that_vanishes_is_a_plain_error(tmp_path):
    with Cache(tmp_path, "space") as cache:
        cache.put("aa", torch.zeros(10))
    with Cache(tmp_path, "space") as again:
        shards(tmp_path)[0].unlink()
        with pytest.raises(RunError, match="removed"):
            again.get("aa")


def test_leftovers_of_killed_writers_go_and_those_of_living_ones_stay(tmp_path):
    (tmp_path / "space").mkdir()
    old, young = (tmp_path / "space" / f"{n}.safetensors.tmp-1234" for n in "ab")
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (time.time() - 90_000,) * 2)
    Cache(tmp_path, "space").close()
    assert (old.exists(), young.exists()) == (False, True)


def test_a_place_that_cannot_be_written_is_a_plain_error(tmp_path):
    (tmp_path / "file").write_text("x")
    cache = Cache(tmp_path / "file", "space")
    cache.put("aa", torch.zeros(1))
    with pytest.raises(ResourceError):
        cache.flush()


def test_a_forgotten_cache_closes_its_files(tmp_path):
    with Cache(tmp_path, "space") as cache:
        cache.put("aa", torch.zeros(10))
    again = Cache(tmp_path, "space")
    again.get("aa")
    del again


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize("after", [1, 7, 12, 23])
def test_a_writer_that_is_killed_leaves_whole_items_only(tmp_path, after):
    process = writer(tmp_path, 0, 40, pause=0.01)
    for _ in range(after):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with Cache(tmp_path, "space") as cache:
        assert cache.warnings == []
        assert after - 5 <= len(cache) < 40
        for number in range(40):
            if hash_text(str(number)) in cache:
                assert (cache.get(hash_text(str(number))) == number).all()


def test_two_processes_fill_one_cache(tmp_path):
    processes = [writer(tmp_path, 0, 30, 0.005), writer(tmp_path, 10, 40, 0.005)]
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    with Cache(tmp_path, "space") as cache:
        assert (len(cache), cache.warnings) == (40, [])
        for number in range(40):
            assert (cache.get(hash_text(str(number))) == number).all()


def test_the_header_alone_tells_what_a_shard_holds(tmp_path):
    with Cache(tmp_path, "space") as cache:
        cache.put("aa", torch.zeros(2, 3))
    content = shards(tmp_path)[0].read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["aa"]["shape"] == [2, 3]
    assert set(header["__metadata__"]) == {"aa"}
