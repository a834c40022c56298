"""Fixtures that find the reference data outside the repository, or skip the test."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

# Networks as small as the tests' only lose by sharing a step among threads; subprocesses inherit this.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A name that is no folder is looked up on the Hub, with minutes of retries where there is no network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

BESIDE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_finish() -> None:
    """Every training starts with a full collection of garbage; what was imported is none, and need not be looked at."""
    gc.collect()
    gc.freeze()


def _folder(variable: str, name: str) -> Path:
    folder = Path(os.environ.get(variable, BESIDE_REPOSITORY / name))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: set {variable} to the folder with the {name} files")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory) -> Iterator[None]:
    """Nothing is taken from an earlier run of perhaps other code, and nothing stays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of numbers recorded from the original implementation."""
    return _folder("MMNAS_GOLDEN", "golden")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of small real data sets."""
    return _folder("MMNAS_DATA", "data")


@pytest.fixture
def nothing_is_too_small(monkeypatch) -> None:
    """Small tensors take part in what only pays for large ones, and large ones come in several parts."""
    sizes = {
        "attention": {"MANY_WEIGHTS": 0, "WEIGHTS_IN_CACHE": 0},
        "dropout": {"LARGE_STATES": 0, "ELEMENTS_AT_A_TIME": 1000},
        "products": {"SMALL_PRODUCT": 0, "LARGE_PRODUCT": 0},
        "region_pairs": {"PAIRS_AT_A_TIME": 16, "PAIRS_OF_A_BLOCK": 7},
    }
    for module, constants in sizes.items():
        for name, size in constants.items():
            monkeypatch.setattr(f"mmnas_hf.{module}.{name}", size)


@pytest.fixture(params=["as usual", "every speed-up"])
def speed(request) -> None:
    """Computes as usual, and with every speed-up at any size."""
    if request.param == "every speed-up":
        request.getfixturevalue("nothing_is_too_small")
