"""What the scripts share: flags, defaults that suit the data set, output folders, and one-line errors."""

import argparse
import logging
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import HfArgumentParser, PreTrainedTokenizerFast, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils.logging import disable_progress_bar

from .configuration_mmnas import MMnasConfig
from .corpus import ROLES, Corpus
from .data import DATASETS, facts_name, find_source, keep_groups
from .errors import InputError, RunError, first_line
from .files import RECORD_FILE, write_json
from .genotype import DECODER_CANDIDATES, DECODER_NODES, ENCODER_CANDIDATES, ENCODER_NODES, SearchSpace
from .hub import Place
from .modeling_mmnas import MMnasForTask
from .operations import OPERATIONS
from .processing_mmnas import MMnasProcessor
from .records import write_record
from .sharing.models import push_run
from .tasks import TASKS, Task, get_task
from .training import TrainArguments
from .word_vectors import initialise_embedding

EXIT_FAILED_RUN, EXIT_WRONG_INPUT = 1, 2

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


class Parser(HfArgumentParser):
    """A parser whose complaints are `InputError`s, and whose defaults follow the chosen data set and task."""

    def __init__(self, argument_classes: type | Sequence[type], description: str | None, **kwargs: Any):
        shown = argparse.RawDescriptionHelpFormatter
        super().__init__(
            argument_classes, description=description, usage="%(prog)s [flags]", formatter_class=shown, **kwargs
        )

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")

    def parse(self, arguments: Sequence[str] | None = None) -> tuple[Any, ...]:
        """The arguments with defaults that follow the chosen data set and task."""
        data = Parser(DataArguments, None, add_help=False)
        data.set_defaults(task=None)
        chosen, _ = data.parse_known_args(arguments)
        source, known = find_source(chosen.data), {action.dest for action in self._actions}
        task = get_task(chosen.task or source.task).name
        defaults = {"task": task, "output_dir": f"runs/{Path(self.prog).stem}-{Path(chosen.data).name}-{task}"}
        settings = defaults | source.settings_for(task, training="inherit" in known)
        self.set_defaults(**{name: value for name, value in settings.items() if name in known})
        return self.read(arguments)

    def read(self, arguments: Sequence[str] | None = None) -> tuple[Any, ...]:
        """The arguments with the defaults that they have."""
        try:
            return self.parse_args_into_dataclasses(arguments)
        except InputError:
            raise
        except ValueError as error:  # of transformers' own argument classes
            raise InputError(f"{error}; see --help") from None


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


def start_record(args: TrainArguments, data: DataArguments, *others: Any) -> Path:
    """Write how the run was started into its folder; a folder with this file is a run's."""
    folder = Path(args.output_dir)
    if args.process_index == 0:
        folder.mkdir(parents=True, exist_ok=True)
        arguments = {type(part).__name__: asdict(part) for part in (data, *others)}
        write_record(
            folder,
            args.world_size,
            seed=args.seed,
            data=facts_name(data.data),
            arguments=arguments | {type(args).__name__: args.to_dict()},
        )
    return folder


def claim_folder(args: TrainArguments, overwrite: bool) -> None:
    """Make sure that `args.output_dir` may be written, and find the checkpoint that `args` ask to resume from.

    A folder with files in it is refused unless resuming or overwriting is asked; overwriting deletes the run it holds.
    """
    folder = Path(args.output_dir)
    if args.resume_from_checkpoint:
        args.resume_from_checkpoint = find_checkpoint(folder, args.resume_from_checkpoint)
    elif args.process_index == 0 and folder.exists():
        make_room(folder, overwrite)


def make_room(folder: Path, overwrite: bool) -> None:
    if not folder.is_dir():
        raise InputError(f"output_dir {folder} is a file; give a folder")
    if not any(folder.iterdir()):
        return
    if not overwrite:
        raise InputError(
            f"output_dir {folder} already holds a run; "
            "give another folder, --resume_from_checkpoint last, or --overwrite"
        )
    if not (folder / RECORD_FILE).is_file():
        raise InputError(f"output_dir {folder} holds files that are no run's; give another folder")
    shutil.rmtree(folder)


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


def find_checkpoint(folder: Path, resume: str) -> str:
    last = resume.lower() in ("last", "true")
    checkpoint = get_last_checkpoint(str(folder)) if last and folder.is_dir() else resume
    if not isinstance(checkpoint, str) or not Path(checkpoint, TRAINER_STATE_NAME).is_file():
        raise InputError(f"no checkpoint to resume from: {resume!r} in {folder}; give checkpoint-N's path, or last")
    return checkpoint


def run(main: Callable[[], None]) -> None:
    """Call a script's main function; wrong input becomes one line on stderr and exit code 2, a failed run 1."""
    disable_progress_bar()  # of files that are saved and loaded in a moment; training has its own bar
    try:
        main()
    except (InputError, RunError) as error:
        script = Path(sys.argv[0]).name
        message = " ".join(str(error).split())
        sys.stderr.write(f"{script}: error: {message}\n")
        sys.exit(EXIT_WRONG_INPUT if isinstance(error, InputError) else EXIT_FAILED_RUN)
