"""Convert a checkpoint of the original MMnas, or of openvqa, into a folder that from_pretrained loads, or go back.

python scripts/convert.py --task vqa --checkpoint train_vqa.pkl --genotype mmnas-vqa \\
    --vocab token_to_ix.json --answers answer_dict.json --output_dir models/mmnas-vqa
python scripts/convert.py --task vqa --checkpoint epoch13.pkl --genotype mmnasnet_small.yml --output_dir models/mmnasnet
python scripts/convert.py --task vqa --checkpoint run_vqa-search_epoch100.pkl --output_dir models/supernet
python scripts/convert.py --task vqa --checkpoint models/mmnas-vqa --output_dir original --to_original

Of openvqa, MMNasNet and MCAN are known, if their heads have 64 numbers (the small ones). Sizes follow from the tensors'
shapes. The architecture does not: SA and GA have tensors of the same names and shapes, so that a wrong genotype which
only confuses those two converts without complaint, and computes nonsense.

A supernet becomes a folder for `evaluate.py --model` and `train.py --inherit`. Beside it: genotype.json (its most
probable network), probabilities.json, and original.safetensors with its alphas. With --to_original the folder gets
checkpoint.pkl and the architecture file, with which the original evaluates; optimiser states are in neither.

Checkpoints are read as plain tensors: a file that asks for anything else is refused.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

from mmnas_hf.cards import write_card
from mmnas_hf.cli import Parser, load_model, run, show
from mmnas_hf.conversion import (
    from_original,
    genotype_of,
    label_answers,
    new_folder,
    read_architecture,
    read_besides,
    read_entries,
    read_tensors,
    save_converted,
    save_original,
    words_processor,
)
from mmnas_hf.errors import InputError
from mmnas_hf.runs import RunRecord
from mmnas_hf.tasks import TASKS, Task, get_task

FOREIGN = "The weights come from another program, whose training is not recorded here."


@dataclass
class ConvertArguments:
    """What is converted, and into what."""

    _argument_group_name: ClassVar[str] = "conversion"

    task: str = field(metadata={"help": f"Task: {', '.join(TASKS)}; checkpoints of openvqa are of task vqa."})
    checkpoint: str = field(
        metadata={"help": "File to convert, .pkl or .safetensors; with --to_original a model folder of this package."}
    )
    output_dir: str = field(metadata={"help": "New folder for the result; it appears whole or not at all."})
    genotype: str | None = field(
        default=None,
        metadata={
            "help": "Architecture: the original's JSON, openvqa's YAML, a short form, or a published name such as "
            "mmnas-vqa. Openvqa's checkpoints need the YAML; supernets need none."
        },
    )
    vocab: str | None = field(
        default=None,
        metadata={
            "help": "Words by number for the processor, JSON or pickle: a list in order, or {word: number}; without "
            "it the folder has a model alone."
        },
    )
    answers: str | None = field(
        default=None,
        metadata={"help": "Answers by number: a list, {answer: number}, or openvqa's answer_dict.json."},
    )
    to_original: bool = field(default=False, metadata={"help": "Go the other way."})

    def __post_init__(self) -> None:
        if self.to_original and (self.genotype or self.vocab or self.answers):
            raise InputError("--to_original takes no --genotype, --vocab or --answers: the model folder has its own")


def main() -> None:
    parser = Parser(ConvertArguments, __doc__)
    (args,) = parser.read()
    task, folder = get_task(args.task), Path(args.output_dir)
    notes = [] if args.to_original else [FOREIGN]
    with new_folder(folder) as draft:
        arguments = {type(args).__name__: asdict(args)}
        record = RunRecord(draft, arguments, repeats=parser.repeats, notes=notes)
        if args.to_original:
            restore(task, args.checkpoint, draft)
        else:
            convert(task, args, draft)
            write_card(draft, folder)
        record.finish()
    show(f"see {folder}")


def convert(task: Task, args: ConvertArguments, folder: Path) -> None:
    architecture = read_architecture(args.genotype) if args.genotype else None
    converted = from_original(read_tensors(Path(args.checkpoint)), task, architecture)
    model = converted.model
    if args.answers:
        label_answers(model.config, read_entries(Path(args.answers)))
    if args.vocab:
        words_processor(read_entries(Path(args.vocab)), model.config, task).save_pretrained(folder)
    save_converted(converted, folder)
    kind = "supernet, most probable" if model.config.genotype is None else "network"
    show(f"{kind} {genotype_of(converted)}: {model.num_parameters():,} parameters, {model.config.vocab_size} words")
    if not args.vocab:
        show("no --vocab: the folder has no processor, and texts have to come as numbers")
    if model.config.num_labels > 1 and not args.answers:
        show("no --answers: answers have numbers, not names")


def restore(task: Task, source: str, folder: Path) -> None:
    model = load_model(task, source)
    besides = read_besides(Path(source))
    dialect = save_original(model, besides, folder)
    if model.config.genotype is None and not besides:
        show("the alphas are not known, and left uniform")
    show(f"written as {dialect.title}")


if __name__ == "__main__":
    run(main)
