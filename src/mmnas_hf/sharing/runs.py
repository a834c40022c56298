"""What the folder of a run, of a saved network or of an architecture tells of its architecture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import CONFIG_FILE, GENOTYPE_FILE, RECORD_FILE, RESULTS_FILE, SUPERNET_FOLDER, read_json
from ..genotype import Genotype
from ..records import chosen_flags, task_of
from ..tasks import get_task
from .architectures import ARCHITECTURE_FILE, Architecture, load_genotype

STRATEGY = "binary gates"
OUTCOMES = ("entropy", "moved", "changed_nodes")


def network_folder(run: Path) -> Path:
    """The folder of a run's network: the run's own, or that of its supernet."""
    for folder in (run, run / SUPERNET_FOLDER):
        if (folder / CONFIG_FILE).is_file():
            return folder
    raise InputError(f"{run} holds no network; give the output folder of search.py, train.py or convert.py")


def read_run(run: Path) -> Architecture:
    """What a run's folder tells: a search found its architecture, any other was given it."""
    if (run / ARCHITECTURE_FILE).is_file():
        return Architecture.load(run)
    config = read_json(network_folder(run) / CONFIG_FILE)
    results, record = read_if_there(run / RESULTS_FILE), read_if_there(run / RECORD_FILE)
    task = get_task(task_of(config))
    return Architecture(
        genotype_of(run, config),
        task.name,
        headline_first(scores_of(results), task.metric),
        describe(results, record, config),
        record.get("versions", {}),
    )


def read_if_there(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def genotype_of(run: Path, config: Mapping[str, Any]) -> Genotype:
    if config.get("genotype") is not None:
        return Genotype.from_dict(config["genotype"])
    if not (run / GENOTYPE_FILE).is_file():
        raise InputError(f"{run} is a supernet without {GENOTYPE_FILE}; give the output folder of a finished search")
    return load_genotype(run)


def scores_of(results: Mapping[str, Any]) -> dict[str, float]:
    """The scores of a trained network, or of what a search found once it was trained from scratch."""
    found = [network["metrics"] for network in results.get("networks", ()) if network["name"] == "found"]
    return dict(found[0] if found else results.get("metrics", {}))


def headline_first(scores: Mapping[str, float], metric: str) -> dict[str, float]:
    return {name: scores[name] for name in sorted(scores, key=lambda name: name != metric)}


def describe(results: Mapping[str, Any], record: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """How a search found its architecture; of any other run on data, where its scores come from."""
    flags = {name: value for part in record.get("arguments", {}).values() for name, value in part.items()}
    origin = {name: record[name] for name in ("seed", "command", "data") if name in record}
    scored = {**origin, "split": flags.get("test_split") or "test"} if "data" in record else {}
    if "search" not in results:
        return scored
    found = results["search"]
    return {
        "space": config["search_space"],
        "strategy": STRATEGY,
        **scored,
        "budget": {"steps": found["steps"], "retraining_steps": results["retraining_steps"]},
        "seconds": round(found["seconds"], 1),
        **{name: found[name] for name in OUTCOMES},
        **chosen_flags(flags),
    }


def read_architecture(source: str, token: str | None = None) -> Architecture:
    """The architecture in a local folder of any kind, or in a repository of the Hub."""
    return read_run(Path(source)) if Path(source).is_dir() else Architecture.load(source, token=token)
