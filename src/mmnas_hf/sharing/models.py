"""Networks as repositories: what of a run's folder is shared, and only that, is laid out in a folder and uploaded."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from ..cards import model_card
from ..errors import InputError
from ..files import (
    CARD_FILE,
    CONFIG_FILE,
    PROBABILITIES_FILE,
    PROCESSOR_FILE,
    RECORD_FILE,
    RESULTS_FILE,
    read_json,
    write_json,
)
from ..hub import Place, upload
from ..privacy import check_texts, portable
from ..remote_code import add_remote_code
from .architectures import FILES, MARKS
from .runs import network_folder, read_run

WEIGHTS = "model*.safetensors"
# Of the network and its processor; JSON that names local paths is shared without them.
NETWORK_FILES = (WEIGHTS, "tokenizer.json")
NETWORK_JSON = (
    CONFIG_FILE,
    "model.safetensors.index.json",
    PROCESSOR_FILE,
    "tokenizer_config.json",
    "special_tokens_map.json",
)
# Of the run.
RUN_FILES = ("probabilities.png",)
RUN_JSON = (RESULTS_FILE, RECORD_FILE, PROBABILITIES_FILE)
# What an upload replaces in a repository of an earlier one.
SHARED = [*NETWORK_FILES, *NETWORK_JSON, *RUN_FILES, *RUN_JSON, *FILES]


def lay_out_run(run: Path, folder: Path, name: str) -> None:
    """Write all that a repository of this name holds of a run, or of a saved network.

    The card of a script's run is written anew, for this name; that of any other folder is kept.
    """
    network = network_folder(run)
    if not list(network.glob(WEIGHTS)):
        raise InputError(f"{network} holds no {WEIGHTS}; give the folder of a run that has ended")
    copy_files(network, folder, NETWORK_FILES, NETWORK_JSON)
    copy_files(run, folder, RUN_FILES, RUN_JSON)
    read_run(run).save(folder)
    add_remote_code(folder)
    if (network / CARD_FILE).is_file() and not (run / RECORD_FILE).is_file():
        shutil.copyfile(network / CARD_FILE, folder / CARD_FILE)
    else:
        model_card(folder, name).save(folder / CARD_FILE)
    check_texts(path for path in folder.iterdir() if path.name != "tokenizer.json")


def copy_files(source: Path, folder: Path, patterns: tuple[str, ...], json_files: tuple[str, ...]) -> None:
    """Copy the files that are there, JSON without local paths."""
    for pattern in patterns:
        for path in source.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    for name in json_files:
        if (source / name).is_file():
            write_json(folder / name, portable(read_json(source / name)))


def push_run(run: str | Path, place: Place) -> str:
    """Upload what is shared of a run and say where it is; the run's folder stays as it is."""
    place = place.in_full()
    with TemporaryDirectory() as folder:
        lay_out_run(Path(run), Path(folder), place.name)
        return upload(Path(folder), place, MARKS, SHARED)
