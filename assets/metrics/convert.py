"""Turns LIVE's BRISQUE model, a libsvm text file, into the numbers that ship here.

    python assets/metrics/convert.py ALLMODEL assets/metrics/brisque.safetensors

It knows no metric; `analysis/metrics/brisque.py` reads what it writes.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

FEATURES = 36
MODEL = "e9cb390b70736feeed0587d41ea9f9ee"
"""MD5 of LIVE's file with line feeds as line ends."""

# Lowest and highest value of each feature in LIVE's training set: `allrange` of the same release.
RANGE = """
    0.338 10  0.017204 0.806612
    0.236 1.642  -0.123884 0.20293  0.000155 0.712298  0.001122 0.470257
    0.244 1.641  -0.123586 0.179083  0.000152 0.710456  0.000975 0.470984
    0.249 1.555  -0.135687 0.100858  0.000174 0.684173  0.000913 0.534174
    0.258 1.561  -0.143408 0.100486  0.000179 0.685696  0.000888 0.536508
    0.471 3.264  0.012809 0.703171
    0.218 1.046  -0.094876 0.187459  1.5e-005 0.442057  0.001272 0.40803
    0.222 1.042  -0.115772 0.162604  1.6e-005 0.444362  0.001374 0.40243
    0.227 0.996  -0.117188 0.09832299999999999  3e-005 0.531903  0.001122 0.369589
    0.228 0.99  -0.12243 0.098658  2.8e-005 0.530092  0.001118 0.370399
"""


def convert(model: Path, out: Path) -> None:
    """Write the support vectors, their coefficients, the kernel's constants and the ranges.

    Vectors and coefficients are float32, as in the file that piq downloads.
    """
    text = model.read_bytes().replace(b"\r\n", b"\n")
    if hashlib.md5(text, usedforsecurity=False).hexdigest() != MODEL:
        raise SystemExit(f"{model} is not LIVE's allmodel")
    head, _, body = text.decode("ascii").partition("\nSV\n")
    constants = dict(line.split(" ", 1) for line in head.splitlines())
    rows = [line.split() for line in body.splitlines()]
    vectors = np.zeros((len(rows), FEATURES), np.float32)  # what libsvm leaves out is zero
    for row, (_, *entries) in zip(vectors, rows, strict=True):
        for place, value in (entry.split(":") for entry in entries):
            row[int(place) - 1] = float(value)
    ranges = np.array(RANGE.split(), np.float64).reshape(FEATURES, 2)
    numbers = {
        "coefficients": np.array([row[0] for row in rows], np.float32),
        "vectors": vectors,
        "gamma": np.array([constants["gamma"]], np.float64),
        "rho": np.array([constants["rho"]], np.float64),
        "low": ranges[:, 0].copy(),
        "high": ranges[:, 1].copy(),
    }
    save_file(numbers, out, {"source": "LIVE, BRISQUE Software Release, 2011: allmodel, allrange"})


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
