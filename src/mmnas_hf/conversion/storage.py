"""Checkpoint files, read as plain tensors and never run, and folders, written whole or not at all."""

import json
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import InputError, first_line
from ..files import GENOTYPE_FILE, PROBABILITIES_FILE, write_json
from ..genotype import Genotype
from ..modeling_mmnas import MMnasForTask
from .dialects import MCAN, Dialect
from .networks import Converted, genotype_of, probabilities_of, to_original
from .openvqa import to_settings

BESIDES_FILE = "original.safetensors"
CHECKPOINT_FILE = "checkpoint.pkl"
PARALLEL = "module."  # what torch's wrapper for several GPUs puts before every name


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A draft that becomes `folder` once the block is through, and is gone if the block fails."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"output_dir {folder} is not empty or no folder; give a new one")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as place:
            draft = Path(place, folder.name)
            draft.mkdir()
            yield draft
            draft.replace(folder)
    except OSError as error:
        raise InputError(f"output_dir {folder} cannot be written: {first_line(error)}") from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a checkpoint, on the CPU; nothing in the file is run.

    Raises `InputError` for a file that is missing, damaged, or asks for more than tensors and numbers.
    """
    if not path.is_file():
        raise InputError(f"no checkpoint {path}")
    tensors = read_safetensors(path) if path.suffix == ".safetensors" else state_dict(read_pickle(path), path)
    for name, tensor in tensors.items():
        if not is_plain(tensor):
            raise InputError(f"{path} is no checkpoint of a network: {name!r} is no plain tensor of real numbers")
    if tensors and all(name.startswith(PARALLEL) for name in tensors):
        return {name.removeprefix(PARALLEL): tensor for name, tensor in tensors.items()}
    return tensors


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is real numbers that are all there: views and tensors without data may claim any size."""
    whole = tensor.layout == torch.strided and tensor.is_contiguous() and not tensor.is_meta
    return whole and tensor.is_floating_point()


def read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is no readable safetensors file: {first_line(error)}") from None


def read_pickle(path: Path) -> Any:
    try:
        mapped = is_sound_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a file of another pickle protocol is refused or read, without ado
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except InputError:
        raise
    except Exception as error:  # damaged files raise whatever the damage happens to raise
        if asked := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise InputError(f"{path} is refused: it asks for {asked[1]}; do not trust this file") from None
        raise InputError(f"{path} is no checkpoint of plain tensors, or it is damaged or cut off") from None


def is_sound_archive(path: Path) -> bool:
    """Whether a file is an archive that can be mapped into memory, as torch writes since 1.6; damaged ones raise."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise InputError(f"{path} was compressed, which torch.save does not do: unpack it, or save it again")
        if damaged := archive.testzip():
            raise InputError(f"{path} is damaged: {damaged} in it is not what was saved")
    return True


def state_dict(checkpoint: Any, path: Path) -> dict[str, Tensor]:
    """The tensors in what `torch.save` was given: a training's state, or the tensors alone."""
    if isinstance(checkpoint, Mapping):
        tensors = checkpoint.get("state_dict", checkpoint)
        if isinstance(tensors, Mapping) and all(isinstance(tensor, Tensor) for tensor in tensors.values()):
            return {str(name): tensor for name, tensor in tensors.items()}
    raise InputError(f"{path} holds no state_dict of tensors")


def save_converted(converted: Converted, folder: Path) -> None:
    """Write the network, what the checkpoint has besides, and what a supernet's search found."""
    converted.model.save_pretrained(folder)
    if converted.besides:
        safetensors.torch.save_file(converted.besides, folder / BESIDES_FILE)
    genotype_of(converted).save(folder / GENOTYPE_FILE)
    if converted.model.config.genotype is None:
        nodes, probabilities = len(converted.model.config.space.encoder), probabilities_of(converted)
        sides = {"encoder": probabilities[:nodes], "decoder": probabilities[nodes:]}  # as a line of a search's log
        write_json(folder / PROBABILITIES_FILE, sides)


def read_besides(folder: Path) -> dict[str, Tensor]:
    """What `save_converted` kept besides the network in `folder`."""
    path = folder / BESIDES_FILE
    return read_safetensors(path) if path.is_file() else {}


def save_original(model: MMnasForTask, besides: Mapping[str, Tensor], folder: Path) -> Dialect:
    """Write a checkpoint and an architecture file with which the original, or openvqa, loads a network."""
    dialect, tensors = to_original(model, besides)
    prefix = "" if dialect.attention_bias else PARALLEL  # openvqa adds the prefix itself
    named = OrderedDict((f"{prefix}{name}", tensor.detach().clone()) for name, tensor in tensors.items())
    # In the form of before torch 1.6, which the torch of those years and today's both read.
    torch.save({"state_dict": named}, folder / CHECKPOINT_FILE, _use_new_zipfile_serialization=False)
    if dialect.attention_bias:
        (folder / "architecture.yml").write_text(to_settings(model.config, dialect is MCAN))
    elif model.config.genotype is not None:
        genotype = Genotype.from_dict(model.config.genotype)
        sides = {side[:3]: [[name] for name in getattr(genotype, side)] for side in ("encoder", "decoder")}
        (folder / "architecture.json").write_text(json.dumps({"epoch0": sides}) + "\n")
    return dialect
