"""What a run leaves behind: its record, its results, and a copy on the Hub."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from ..corpus import Corpus
from ..data import facts_name
from ..data.fingerprint import data_fingerprint
from ..errors import InputError
from ..files import write_json
from ..hub import Place
from ..runs import RunRecord
from ..sharing.models import push_run
from ..training import TrainArguments
from .arguments import DataArguments
from .screen import show


def start_record(
    args: TrainArguments, data: DataArguments, *others: Any, corpus: Corpus, repeats: Path | None = None
) -> RunRecord:
    """Write how the run was started into its folder; a folder with this file is a run's.

    `repeats` is the record of a run that is repeated; of its data and versions, differences are warned of.
    """
    main = args.process_index == 0
    return RunRecord(
        Path(args.output_dir),
        {type(part).__name__: asdict(part) for part in (data, *others)} | {type(args).__name__: args.to_dict()},
        args.world_size,
        main,
        repeats,
        seed=args.seed,
        data=facts_name(data.data),
        launch={"processes": args.world_size, "mixed_precision": args.mixed_precision},
        fingerprint=data_fingerprint(corpus.splits, corpus.store) if main else {},
    )


def save_results(args: TrainingArguments, path: Path, results: dict[str, Any]) -> None:
    """Write JSON whole or not at all, from one process only."""
    if args.process_index == 0:
        write_json(path, results)


def share(args: TrainArguments) -> None:
    """Upload a finished run if `--push_to_hub` asks for it, from one process only."""
    if not args.push_to_hub or args.process_index != 0:
        return
    folder = Path(args.output_dir)
    place = Place(args.hub_model_id or folder.resolve().name, args.hub_private_repo, args.hub_token)
    try:
        show(f"uploaded to {push_run(folder, place)}")
    except InputError as error:
        raise InputError(f"{error}; {folder} is complete, and scripts/push.py uploads it later") from None
