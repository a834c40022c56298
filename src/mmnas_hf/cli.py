"""What the scripts share: flags, defaults that suit the data set, output folders, and one-line errors."""

import argparse
import errno
import logging
import os
import shutil
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, ClassVar, NoReturn

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import HfArgumentParser, PreTrainedTokenizerFast, TrainingArguments
from transformers.utils.logging import disable_progress_bar

from .checkpoints import check as check_checkpoint
from .checkpoints import list_checkpoints, newest_good
from .configuration_mmnas import MMnasConfig
from .corpus import ROLES, Corpus
from .data import DATASETS, facts_name, find_source, keep_groups
from .data.fingerprint import data_fingerprint
from .errors import InputError, RunError, first_line
from .files import DRAFT_SUFFIX, RECORD_FILE, RESULTS_FILE, read_json, write_json
from .genotype import DECODER_CANDIDATES, DECODER_NODES, ENCODER_CANDIDATES, ENCODER_NODES, SearchSpace
from .hub import Place
from .launches import first_decides, leave
from .modeling_mmnas import MMnasForTask
from .operations import OPERATIONS
from .processing_mmnas import MMnasProcessor
from .resources import keep_resources
from .runs import RunRecord, read_arguments
from .sharing.models import push_run
from .speedups import without
from .tasks import TASKS, Task, get_task
from .training import TrainArguments
from .word_vectors import initialise_embedding

EXIT_FAILED_RUN, EXIT_WRONG_INPUT = 1, 2
WITHOUT = "MMNAS_WITHOUT"  # environment variable with names of speed-ups that a script does without
REFUSED_WRITES = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EFBIG,
    errno.EIO,
    errno.EACCES,
    errno.EPERM,
)
NOTHING = (None, False, "", [], {})  # what an argument is that does nothing
REPEAT = f"{RECORD_FILE} of a run that is repeated: all its arguments but those that flags give, and output_dir."

logger = logging.getLogger(__name__)


@dataclass
class DataArguments:
    """Which task, on which data."""

    _argument_group_name: ClassVar[str] = "task and data"

    task: str = field(default="vgd", metadata={"help": f"Task: {', '.join(TASKS)}."})
    data: str = field(
        default="scenes",
        metadata={"help": f"Data set: {', '.join(DATASETS)}, a folder of tables, or OWNER/NAME of one on the Hub."},
    )
    data_dir: str | None = field(default=None, metadata={"help": "Folder with the data set's downloaded files."})
    groups: list[str] | None = field(
        default=None,
        metadata={
            "help": "Use only texts of these groups, where texts have one; scenes: none, direction-free, directional."
        },
    )
    train_split: str | None = field(
        default=None, metadata={"help": "Split to train on, or several as in train+val+vg; default: the data set's."}
    )
    validation_split: str | None = field(
        default=None, metadata={"help": "Split that a search is watched on; default: the data set's."}
    )
    test_split: str | None = field(default=None, metadata={"help": "Split that is scored; default: the data set's."})
    labels_split: str | None = field(
        default=None, metadata={"help": "Splits whose labels make the answer vocabulary; default: the data set's."}
    )
    eval_images: int | None = field(
        default=None, metadata={"help": "Score only texts about so many images of a split; matching scores all pairs."}
    )

    @property
    def roles(self) -> dict[str, str]:
        """The splits that were chosen for something."""
        chosen = {role: getattr(self, f"{role}_split") for role in ROLES}
        return {role: split for role, split in chosen.items() if split}

    def __post_init__(self) -> None:
        if self.eval_images is not None and self.eval_images < 1:
            raise InputError(f"eval_images {self.eval_images} leaves nothing to score; give at least 1")


@dataclass
class ModelArguments:
    """Sizes and options of the network."""

    _argument_group_name: ClassVar[str] = "network"

    hidden_size: int = field(default=512, metadata={"help": "Width of all states; a multiple of 64."})
    word_size: int = field(default=300, metadata={"help": "Width of the word embedding."})
    pooler_size: int = field(default=512, metadata={"help": "Hidden width of the attention pooling."})
    relation_size: int = field(default=64, metadata={"help": "Width of an embedded pair of regions."})
    dropout: float = field(default=0.1, metadata={"help": "Dropout everywhere."})
    box_feature: bool = field(default=False, metadata={"help": "Give regions their place as an extra feature."})
    word_vectors: str | None = field(
        default=None, metadata={"help": "Word vectors that start the embedding: GloVe, word2vec or gensim's own file."}
    )


@dataclass
class SpaceArguments:
    """What is searched."""

    _argument_group_name: ClassVar[str] = "search space"

    encoder_nodes: int = field(default=ENCODER_NODES, metadata={"help": "Text nodes."})
    decoder_nodes: int = field(default=DECODER_NODES, metadata={"help": "Region nodes."})
    encoder_candidates: list[str] = field(
        default_factory=lambda: list(ENCODER_CANDIDATES),
        metadata={"help": f"Operations a text node may have: {', '.join(OPERATIONS)}."},
    )
    decoder_candidates: list[str] = field(
        default_factory=lambda: list(DECODER_CANDIDATES),
        metadata={"help": f"Operations a region node may have: {', '.join(OPERATIONS)}."},
    )

    @property
    def space(self) -> SearchSpace:
        return SearchSpace.chain(
            self.encoder_nodes, self.decoder_nodes, self.encoder_candidates, self.decoder_candidates
        )


@dataclass
class OutputArguments:
    """Where results go."""

    _argument_group_name: ClassVar[str] = "output"

    overwrite: bool = field(default=False, metadata={"help": "Replace the run that output_dir already holds."})
    resume: bool = field(
        default=False,
        metadata={"help": "Go on from the newest whole checkpoint in output_dir, or start if there is none yet."},
    )

    def __post_init__(self) -> None:
        if self.overwrite and self.resume:
            raise InputError("--resume goes on with the run that --overwrite deletes; give one of them")


class Parser(HfArgumentParser):
    """A parser whose complaints are `InputError`s, and whose defaults follow the chosen data set and task.

    What fills a folder may also take its defaults from the record of an earlier run, `repeats`.
    """

    def __init__(self, argument_classes: type | Sequence[type], description: str | None, **kwargs: Any):
        shown = argparse.RawDescriptionHelpFormatter
        super().__init__(
            argument_classes, description=description, usage="%(prog)s [flags]", formatter_class=shown, **kwargs
        )
        self.repeats: Path | None = None
        if "output_dir" in self.known:
            self.add_argument("--repeat", default=argparse.SUPPRESS, help=REPEAT)

    @property
    def known(self) -> set[str]:
        """What there are flags for."""
        return {action.dest for action in self._actions}

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")

    def parse(self, arguments: Sequence[str] | None = None) -> tuple[Any, ...]:
        """The arguments with defaults that follow a repeated run, or the chosen data set and task."""
        arguments, repeated = self.take_repeat(arguments)
        data = Parser(DataArguments, None, add_help=False)
        data.set_defaults(**{"task": None} | {name: repeated[name] for name in ("task", "data") if name in repeated})
        chosen, _ = data.parse_known_args(arguments)
        source = find_source(chosen.data)
        task = get_task(chosen.task or source.task).name
        defaults = {"task": task, "output_dir": f"runs/{Path(self.prog).stem}-{Path(chosen.data).name}-{task}"}
        settings = defaults | source.settings_for(task, training="inherit" in self.known) | repeated
        return self.read(arguments, settings)

    def read(
        self, arguments: Sequence[str] | None = None, settings: Mapping[str, Any] | None = None
    ) -> tuple[Any, ...]:
        """The arguments with the defaults that they have, or other settings."""
        arguments, repeated = self.take_repeat(arguments)
        self.set_settings({**(settings or {}), **repeated})
        try:
            return self.parse_args_into_dataclasses(arguments)
        except InputError:
            raise
        except ValueError as error:  # of transformers' own argument classes
            raise InputError(f"{error}; see --help") from None

    def set_settings(self, settings: Mapping[str, Any]) -> None:
        """Make these the defaults of the flags that there are."""
        for action in self._actions:  # a flag that is on by default has two: its own, and one that turns it off
            if action.dest in settings:
                action.default, action.required = settings[action.dest], False

    def take_repeat(self, arguments: Sequence[str] | None) -> tuple[list[str], dict[str, Any]]:
        """The words without `--repeat FILE`, and the arguments of the run that it names."""
        if "output_dir" not in self.known:
            return list(sys.argv[1:] if arguments is None else arguments), {}
        parser = Parser((), None, add_help=False)
        parser.add_argument("--repeat", type=Path)
        chosen, words = parser.parse_known_args(arguments)
        if chosen.repeat is None:
            return words, {}
        self.repeats = chosen.repeat
        flags = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in words}
        return words, self.repeated_arguments(chosen.repeat, flags)

    def repeated_arguments(self, path: Path, flags: Collection[str]) -> dict[str, Any]:
        """The arguments of the record in a file, for a run with some flags of its own.

        Raises `InputError` for arguments that this script does not know, and for those whose folder was left out of the
        record and that no flag gives.
        """
        repeated, record = read_arguments(path), read_json(path)
        if unknown := [name for name, value in repeated.items() if name not in self.known and value not in NOTHING]:
            raise InputError(
                f"{path} has arguments that {self.prog} does not know: {', '.join(unknown)}; repeat it with the script "
                f"and the version that wrote it ({record.get('command')}), or take them out of the file"
            )
        if lost := [name for name in record.get("cut", ()) if name in repeated and name not in flags]:
            raise InputError(f"{path} does not tell in which folder they were: give --{', --'.join(lost)}")
        return repeated


def load_corpus(args: DataArguments, tokenizer: PreTrainedTokenizerFast | None = None) -> Corpus:
    data = find_source(args.data).load(args.task, args.data_dir)
    if args.groups:
        data = data._replace(texts=keep_groups(data.texts, args.groups))
    return Corpus(get_task(args.task), data, tokenizer, args.roles)


def build_config(corpus: Corpus, args: ModelArguments, **architecture: Any) -> MMnasConfig:
    """The configuration that follows from the data, the flags and a genotype or a search space."""
    names = ("hidden_size", "word_size", "pooler_size", "relation_size", "dropout", "box_feature")
    try:
        return MMnasConfig(**corpus.settings(), **{name: getattr(args, name) for name in names}, **architecture)
    except StrictDataclassError as error:
        raise InputError(str(error.__cause__ or error)) from None


def load_model(task: Task, source: str) -> MMnasForTask:
    """A trained network or supernet from a folder or the Hub."""
    try:
        config = MMnasConfig.from_pretrained(source)
    except OSError as error:
        raise InputError(f"no model at {source!r}: {first_line(error)}") from None
    if config.architectures != [task.model_class.__name__]:
        raise InputError(f"{source!r} holds {config.architectures}, task {task.name} needs {task.model_class.__name__}")
    return task.model_class.from_pretrained(source)


def load_tokenizer(source: str | None) -> PreTrainedTokenizerFast | None:
    """The tokenizer that was saved beside a model; none if there is no model to begin with."""
    return None if source is None else load_processor(source).tokenizer


def load_processor(source: str) -> MMnasProcessor:
    """The processor that was saved beside a model."""
    try:
        return MMnasProcessor.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise InputError(f"no processor at {source!r}: {first_line(error)}") from None


def start_words(model: MMnasForTask, corpus: Corpus, path: str | None, seed: int) -> None:
    """Start the word embedding from a vector file, if one is given, and report how many words it has."""
    if path is None:
        return
    generator = torch.Generator().manual_seed(seed)
    vocabulary = corpus.processor.tokenizer.get_vocab()
    coverage = initialise_embedding(model.get_input_embeddings(), vocabulary, path, generator)
    logger.warning("%s: %s", path, coverage)


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


def claim_folder(args: TrainArguments, overwrite: bool, resume: bool = False) -> None:
    """Make sure that `args.output_dir` may be written, and find the checkpoint that is asked to be resumed from.

    A folder with files in it is refused unless resuming or overwriting is asked; overwriting deletes the run it holds.
    The first process does it for all.
    """
    folder, asked = Path(args.output_dir), args.resume_from_checkpoint
    args.resume_from_checkpoint = first_decides(args, partial(claim, folder, asked, overwrite, resume))


def claim(folder: Path, asked: str | None, overwrite: bool, resume: bool) -> str | None:
    """Make a folder ready for a run, and return the checkpoint that the run goes on from, if any."""
    chosen = choose_checkpoint(folder, asked, resume)
    if resume and chosen is None:
        show(f"no checkpoint in {folder} yet: starting from the beginning")
    goes_on = chosen is not None and Path(chosen).resolve().parent == folder.resolve()
    if not goes_on and folder.exists():
        make_room(folder, overwrite or (resume and chosen is None and not (folder / RESULTS_FILE).exists()))
    try_folder(folder)
    return chosen


def choose_checkpoint(folder: Path, asked: str | None, resume: bool) -> str | None:
    """The checkpoint to go on from, which must be there if it is asked for; `resume` takes the newest whole one."""
    if asked is not None and asked.lower() not in ("last", "true"):
        return str(check_checkpoint(Path(asked)))
    if asked is None and not resume:
        return None
    newest = newest_good(folder)
    if newest is None and (asked is not None or list_checkpoints(folder)):
        raise InputError(f"no checkpoint to resume from: none in {folder} is whole; give a path, or --overwrite")
    return None if newest is None else str(newest)


def make_room(folder: Path, overwrite: bool) -> None:
    if not folder.is_dir():
        raise InputError(f"output_dir {folder} is a file; give a folder")
    if all(path.suffix == DRAFT_SUFFIX for path in folder.iterdir()):
        return
    if not overwrite:
        raise InputError(f"output_dir {folder} already holds a run; give another folder, --resume, or --overwrite")
    if not (folder / RECORD_FILE).is_file():
        raise InputError(f"output_dir {folder} holds files that are no run's; give another folder")
    delete_run(folder)


def delete_run(folder: Path) -> None:
    """Empty a run's folder, last of what says that it is one: a deletion that was cut short can be taken up.

    The folder stays, which may be a link or the place of a disk.
    """
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != RECORD_FILE:
            path.unlink()
    (folder / RECORD_FILE).unlink()


def try_folder(folder: Path) -> None:
    """Make a run's folder and see that files can be made in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"output_dir {folder} cannot be written: {error.strerror}; give another folder") from None


def say(args: TrainingArguments, text: str) -> None:
    """Write to the screen, from one process only."""
    if args.process_index == 0:
        show(text)


def show(text: str) -> None:
    """Write a line to the screen."""
    sys.stdout.write(text + "\n")


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


def run(main: Callable[[], None]) -> None:
    """Call a script's main function; wrong input becomes one line on stderr and exit code 2, a failed run 1."""
    disable_progress_bar()  # of files that are saved and loaded in a moment; training has its own bar
    try:
        with without(*unwanted_speedups()):
            keep_resources()
            main()
            leave()
    except InputError as error:
        fail(str(error), EXIT_WRONG_INPUT)
    except RunError as error:
        fail(str(error), EXIT_FAILED_RUN)
    except OSError as error:
        if error.errno not in REFUSED_WRITES:
            raise
        fail(f"a file cannot be written: {error}; what was complete is kept: make room and go on", EXIT_FAILED_RUN)


def unwanted_speedups() -> list[str]:
    """Names that the environment says, separated by commas."""
    return [name for name in os.environ.get(WITHOUT, "").split(",") if name]


def fail(message: str, code: int) -> NoReturn:
    """End the script with one line on stderr."""
    sys.stderr.write(f"{Path(sys.argv[0]).name}: error: {' '.join(message.split())}\n")
    sys.exit(code)
