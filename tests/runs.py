"""Runs of the scripts that are shared: as small as `tests/scripts.py` makes them."""

from pathlib import Path

from scripts import FAST, SIZES, SPACE, Ended, call

SEARCH = (
    f"--task vqa --max_steps 2 --save_steps 1 --weight_steps 1 --random_architectures 1 --jobs 1 {SIZES} {SPACE} {FAST}"
)
TRAIN = f"--task vqa --genotype S|RG --max_steps 2 --save_steps 1 {SIZES} {FAST}"


def search(data: Path, folder: Path, more: str = "") -> Ended:
    return call("search.py", "--data", data, "--output_dir", folder, SEARCH, more)


def train(data: Path, folder: Path, more: str = "") -> Ended:
    return call("train.py", "--data", data, "--output_dir", folder, TRAIN, more)
