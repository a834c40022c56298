"""Code beside the weights: lets a saved network be loaded, with `trust_remote_code=True`, without this package."""

import json
import shutil
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_relative_import_files
from transformers.utils import CONFIG_NAME, PROCESSOR_NAME

from . import modeling_mmnas, operations
from .auto import AUTO_MODELS
from .configuration_mmnas import MMnasConfig
from .errors import InputError, first_line
from .files import write_text
from .pipeline_mmnas import PIPELINES
from .processing_mmnas import MMnasProcessor


def add_remote_code(folder: str | Path) -> None:
    """Copy the code that a saved network needs into its folder, and name its classes where transformers looks for them.

    With a processor in the folder, its code and that of the network's pipeline come along. Raises `InputError` if the
    folder has no network of this package, or one whose operations are defined elsewhere.
    """
    folder = Path(folder)
    config = read_config(folder / CONFIG_NAME)
    architecture = next(iter(config.get("architectures") or ()), None)
    classes = {"AutoConfig": MMnasConfig, **networks_of(architecture)}
    pipelines = {}
    entries = list(classes.values())
    if (folder / PROCESSOR_NAME).is_file():
        pipelines = {name: kind for name, kind in PIPELINES.items() if kind.network == architecture}
        entries += [MMnasProcessor, *pipelines.values()]
        write_entries(folder / PROCESSOR_NAME, auto_map={"AutoProcessor": reference(MMnasProcessor)})
    copy_modules(entries, folder)
    write_entries(
        folder / CONFIG_NAME,
        auto_map={name: reference(cls) for name, cls in classes.items()},
        custom_pipelines={name: describe_pipeline(kind) for name, kind in pipelines.items()},
    )


def read_config(path: Path) -> dict[str, Any]:
    """A network's configuration as it is stored, after it was found to be one of this package."""
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}; give the folder of a saved network") from None
    if config.get("model_type") != MMnasConfig.model_type:
        raise InputError(f"{path} is of a {config.get('model_type')!r} network, not of {MMnasConfig.model_type!r}")
    for name in MMnasConfig.from_dict(config).space.operations:
        if operations.OPERATIONS[name].__module__ != operations.__name__:
            raise InputError(f"operation {name!r} is defined outside this package, so its code cannot be copied")
    return config


def networks_of(architecture: str | None) -> dict[str, type]:
    """By Auto class, the networks that can be loaded from a saved one: itself and its backbone."""
    names = (architecture, modeling_mmnas.MMnasModel.__name__)
    return {auto: getattr(modeling_mmnas, name) for auto, name in AUTO_MODELS.items() if name in names}


def reference(cls: type) -> str:
    """How transformers finds a class in a folder of modules."""
    return f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}"


def describe_pipeline(kind: type) -> dict[str, Any]:
    autos = {network: auto for auto, network in AUTO_MODELS.items()}
    return {"impl": reference(kind), "pt": [autos[kind.network]]}


def copy_modules(classes: list[type], folder: Path) -> None:
    """Copy the modules of these classes and, in turn, the siblings that they import."""
    here = Path(__file__).parent
    entries = {here / f"{cls.__module__.rpartition('.')[2]}.py" for cls in classes}
    for path in entries | {Path(needed) for entry in entries for needed in get_relative_import_files(entry)}:
        shutil.copyfile(path, folder / path.name)


def write_entries(path: Path, **entries: Any) -> None:
    """Add entries to a JSON file; empty ones are left out."""
    content = json.loads(path.read_text()) | {name: value for name, value in entries.items() if value}
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")
