"""Tiny Stable Diffusion models, as folders and loaded."""

import pytest
import torch

from tests.trainer.weights.tiny_models import SHAPES, load, make_folder


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session", params=["sd1", "sd2"])
def folder(request, tmp_path_factory):
    """A model folder of each generation."""
    return make_folder(tmp_path_factory.mktemp(request.param), **SHAPES[request.param])


@pytest.fixture(scope="session")
def sd1_folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("only_sd1"), **SHAPES["sd1"])


@pytest.fixture
def model(folder):
    return load(folder)


@pytest.fixture
def sd1(sd1_folder):
    return load(sd1_folder)
