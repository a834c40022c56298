"""One's own data: a folder with `images.parquet` and one `TASK-SPLIT.jsonl` a split."""

from collections.abc import Callable
from pathlib import Path

from datasets import Dataset, are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from datasets.utils import logging

from ..errors import InputError, first_line
from .table import ImageTextData

IMAGES_FILE = "images.parquet"


def load_folder(folder: Path, task: str) -> ImageTextData:
    """Read a folder that `save_folder` wrote, or one with the same files."""
    if not (folder / IMAGES_FILE).is_file():
        raise InputError(f"missing file {folder / IMAGES_FILE}; write the folder with mmnas_hf.data.save_folder")
    files = {path.stem.removeprefix(f"{task}-"): path for path in sorted(folder.glob(f"{task}-*.jsonl"))}
    if missing := {"train", "test"} - set(files):
        names = ", ".join(f"{task}-{split}.jsonl" for split in sorted(missing))
        raise InputError(f"missing in {folder}: {names}; train and test are needed, validation may be added")
    texts = {split: read(Dataset.from_json, path) for split, path in files.items()}
    return ImageTextData(read(Dataset.from_parquet, folder / IMAGES_FILE), texts)


def read(reader: Callable[[str], Dataset], path: Path) -> Dataset:
    """Read one file in silence; whatever is wrong with it becomes one line."""
    hidden, level = are_progress_bars_disabled(), logging.get_verbosity()
    disable_progress_bars()
    logging.set_verbosity(logging.CRITICAL)
    try:
        return reader(str(path))
    except Exception as error:  # pyarrow's and datasets' own reading errors share no base class
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error
    finally:
        logging.set_verbosity(level)
        if not hidden:
            enable_progress_bars()


def save_folder(data: ImageTextData, folder: str | Path, task: str) -> None:
    """Write images and one task's texts where `--data FOLDER` finds them."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    data.images.to_parquet(str(folder / IMAGES_FILE))
    for split, texts in data.texts.items():
        texts.to_json(str(folder / f"{task}-{split}.jsonl"))
