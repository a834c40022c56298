"""The record of a network or an architecture that its card is filled from, as read from what a run left."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from .errors import InputError
from .files import (
    CONFIG_FILE,
    GENOTYPE_FILE,
    PROCESSOR_FILE,
    RECORD_FILE,
    RESULTS_FILE,
    SUPERNET_FOLDER,
    read_json,
    write_json,
)
from .genotype import Genotype
from .privacy import portable
from .tasks import TASKS

SIZES = ("hidden_size", "word_size", "region_size", "pooler_size", "relation_size", "vocab_size", "box_feature")
#: Flags that say how a network came about, in the order in which a card lists them.
FLAGS = (
    *("groups", "train_split", "validation_split", "labels_split", "eval_images"),
    *("inherit", "word_vectors", "dropout"),
    *("max_steps", "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps"),
    *("learning_rate", "adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay", "max_grad_norm"),
    *("lr_scheduler_type", "ramp_epochs", "decay_epochs", "decay_factor", "hard_negatives", "hard_negatives_from"),
    *("strategy", "warm_up", "weight_steps", "gates", "architecture_learning_rate", "prior", "evaluations"),
    *("population", "progressive", "stable_epochs", "retrain_budget"),
)
UNSET = (None, False, [], -1)
SEARCHED = "After {steps:,} steps the choice of a node has an entropy of {entropy:.2f} nats on average."
MOVED = "It moved {moved:.2f} from the prior (total variation, 0 to 1), to another operation at {changed_nodes} nodes."
DOUBTED = "A reason to distrust this search: {}."
#: Flags that mean nothing as long as another is unset.
NEED = {"decay_factor": "decay_epochs", "hard_negatives_from": "hard_negatives"}

Contents = Mapping[str, Any]  # of a JSON file


@dataclass(frozen=True)
class Scores:
    """Metrics of one network on one split of a data set."""

    data: str
    split: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that a card tells of a network, a supernet or an architecture alone.

    `place` is what `from_pretrained` takes, on the Hub or not. `genotype` is in its short form; a supernet's is what
    the search found, if that is known. `reads_texts` tells whether a processor comes with the weights, `texts` how many
    were trained on. `compared` are the networks that were trained after a search. `source` has the `name` and `url` of
    who reports the scores, where they were not measured by this run.
    """

    kind: str  # network, supernet or architecture
    place: str
    on_hub: bool
    task: str
    genotype: str
    reads_texts: bool = True
    space: dict[str, list[list[str]]] | None = None
    sizes: dict[str, Any] = field(default_factory=dict)
    data: str = ""
    scores: list[Scores] = field(default_factory=list)
    compared: list[dict[str, Any]] = field(default_factory=list)
    flags: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    command: str = ""
    seed: int | None = None
    texts: int | None = None
    parameters: int | None = None
    seconds: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    source: dict[str, str] | None = None

    @classmethod
    def load(cls, path: Path) -> Self:
        data = read_json(path)
        return cls(**data | {"scores": [Scores(**scores) for scores in data["scores"]]})

    @property
    def name(self) -> str:
        """The end of its place, with the run before it for a supernet, whose folder is named alike in all runs."""
        parts = self.place.split("/")
        return "-".join(parts[-2:] if parts[-1] == SUPERNET_FOLDER and not self.on_hub else parts[-1:])

    @property
    def is_searched(self) -> bool:
        """Whether it tells of a search, of which the space or the strategy is known."""
        return self.space is not None or "strategy" in self.flags

    @property
    def has_foreign_weights(self) -> bool:
        """Whether no run of this package is known to have trained the weights, so that their licence is unknown."""
        return self.kind != "architecture" and not self.data

    def save(self, path: Path) -> None:
        write_json(path, asdict(self))


def read_record(folder: Path, repo: str | None = None) -> Record:
    """The record of a network or a supernet from its folder; a supernet's search is recorded in the folder around it.

    Raises `InputError` for a folder without a model.
    """
    config = read_json(folder / CONFIG_FILE)
    kind = "network" if config.get("genotype") else "supernet"
    home = run_of(folder)
    run, results = (read_json(home / name) if (home / name).is_file() else {} for name in (RECORD_FILE, RESULTS_FILE))
    flags = {name: value for part in run.get("arguments", {}).values() for name, value in part.items()}
    result = trained(config, results, run, flags) if kind == "network" else searched(config, results, home, flags)
    return Record(
        kind=kind,
        place=repo or portable(str(folder)),
        on_hub=repo is not None,
        task=task_of(config),
        reads_texts=(folder / PROCESSOR_FILE).is_file(),
        sizes={name: config[name] for name in SIZES if config.get(name)},
        flags=chosen_flags(flags),
        **{name: run[name] for name in ("data", "command", "seed", "versions", "source") if name in run},
        **{**result, "notes": [*run.get("notes", ()), *result.get("notes", ())]},
    )


def run_of(folder: Path) -> Path:
    """The folder of the run that left a model: the model's own, or that around a search's supernet."""
    around = folder.name == SUPERNET_FOLDER and not (folder / RECORD_FILE).is_file()
    return folder.parent if around else folder


def trained(config: Contents, results: Contents, run: Contents, flags: Contents) -> dict[str, Any]:
    """What a network's card says of its training's result."""
    measured = "data" in run and "metrics" in results
    scores = [Scores(run["data"], flags.get("test_split") or "test", results["metrics"])] if measured else []
    cost = {name: results[name] for name in ("texts", "parameters", "seconds") if name in results}
    return {"genotype": str(Genotype.from_dict(config["genotype"])), "scores": scores, **cost}


def searched(config: Contents, results: Contents, home: Path, flags: Contents) -> dict[str, Any]:
    """What a supernet's card says of its search's result."""
    found, path = results.get("search", {}), home / GENOTYPE_FILE
    # A prior without a preference has no choices that could be left.
    told = SEARCHED if flags.get("prior", "none") == "none" else f"{SEARCHED} {MOVED}"
    return {
        "genotype": str(Genotype.load(path)) if path.is_file() else "",
        "space": config["search_space"],
        "compared": [without_metrics(row) for row in results.get("networks", [])],
        "notes": [told.format(**found), *map(DOUBTED.format, results.get("warnings", ()))] if found else [],
        "seconds": found.get("seconds"),
    }


def without_metrics(row: Contents) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "metrics"}


def task_of(config: Contents) -> str:
    """The task of a network by the class that its configuration names."""
    tasks = {task.model_class.__name__: name for name, task in TASKS.items()}
    (architecture,) = config.get("architectures") or ("none",)
    if architecture not in tasks:
        raise InputError(f"a model of class {architecture} does no task; known: {', '.join(tasks)}")
    return tasks[architecture]


def chosen_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that a card lists, without those that mean nothing."""
    chosen = {name: flags[name] for name in FLAGS if flags.get(name) not in UNSET}
    unused = {name for name, other in NEED.items() if other not in chosen}
    unused |= {"num_train_epochs"} if "max_steps" in chosen else set()
    return {name: portable(value) for name, value in chosen.items() if name not in unused}
