"""Seconds and peak memory of `dataset check` and of the latents cache, against pictures.

    python benchmarks/dataset_scale.py 1000 10000 100000

Each measurement is a process of its own over a temporary folder of synthetic 64 px PNG
files. The demo model's VAE encodes when it is there, else a tiny one with random weights.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SIDE = 64


def main() -> None:
    """Measure each count, or be the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("counts", type=int, nargs="*", default=[1000, 10000])
    parser.add_argument("--measure", choices=["check", "cache"])
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.measure, asked.folder)))
        return
    print(
        f"{'pictures':>9} {'what':>6} {'seconds':>8} {'CPU s':>8} {'peak MB':>8} "
        f"{'largest child MB':>17}"
    )
    for count in asked.counts:
        with tempfile.TemporaryDirectory() as place:
            make(Path(place) / "pictures", count)
            for what in ("check", "cache"):
                told = in_own_process(what, Path(place) / "pictures")
                print(
                    f"{count:>9} {what:>6} {told['seconds']:>8.1f} {told['cpu']:>8.1f} "
                    f"{told['peak']:>8.0f} "
                    f"{told['child']:>17.0f}",
                    flush=True,
                )


def make(folder: Path, count: int) -> None:
    """Smooth random pictures, all different, with captions."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(count):
        rough = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(rough).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:06d}.png", compress_level=1)
        (folder / f"{number:06d}.txt").write_text(f"a photo of sks dog, number {number % 50}")


def in_own_process(what: str, folder: Path) -> dict[str, float]:
    """What `measure` says in a fresh process."""
    command = [sys.executable, __file__, "--measure", what, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def measure(what: str, folder: Path) -> dict[str, float]:
    """Seconds, and the largest resident sizes of this process and of any child, MB."""
    loaded = model() if what == "cache" else None
    started, used = time.monotonic(), cpu_seconds()
    run_check(folder) if loaded is None else run_cache(folder, loaded)
    return {
        "seconds": time.monotonic() - started,
        "cpu": cpu_seconds() - used,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "child": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }


def cpu_seconds() -> float:
    """Of this process and its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def run_check(folder: Path) -> None:
    """The whole `dataset check`."""
    from trainer.data.check import check

    report = check(settings(folder), resolution=SIDE, step=8)
    assert report.pictures == len(list(folder.glob("*.png")))


def run_cache(folder: Path, loaded: Any) -> None:
    """Scan, encode, and read every item back."""
    from trainer.data.bucket import fit, framing
    from trainer.data.encode import cache_latents
    from trainer.data.folder import scan

    config = settings(folder)
    framed, _ = fit(scan(config).pictures, framing(config, resolution=SIDE, size_step=8))
    latents = cache_latents(loaded, framed, config, folder.parent / "cache")
    for one in framed:
        latents.of(one.picture, one.frame)


def settings(folder: Path) -> Any:
    """A dataset config for the synthetic pictures."""
    from trainer.job.pictures import DatasetConfig

    return DatasetConfig(folder=folder, trigger="sks", class_word="dog", bucket_step=8)


def model() -> Any:
    """The demo model, or a stand-in with a tiny VAE."""
    from trainer.core.device import plan

    if (ROOT / "assets/demo/sd/vae").is_dir():
        from trainer.families.sd import SdConfig

        return SdConfig().load(plan("cpu", "fp32"))
    import torch
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        found = vae.encode(pixels).latent_dist
        return torch.stack((found.mean, found.std), dim=1)

    return SimpleNamespace(plan=plan("cpu", "fp32"), image_key="random", encode_images=encode)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
