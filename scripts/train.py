"""Train one architecture, from scratch or from a supernet's weights, into a folder that from_pretrained loads.

accelerate launch scripts/train.py --genotype "SS|GGRG" --output_dir runs/mine
accelerate launch scripts/train.py --genotype runs/search/genotype.json --inherit runs/search/supernet
"""

from dataclasses import dataclass, field
from typing import ClassVar

from mmnas_hf.cards import write_card
from mmnas_hf.checkpoints import writing
from mmnas_hf.cli import (
    DataArguments,
    ModelArguments,
    OutputArguments,
    Parser,
    build_config,
    claim_folder,
    load_corpus,
    load_model,
    load_tokenizer,
    run,
    save_results,
    say,
    share,
    start_record,
    start_words,
)
from mmnas_hf.files import RESULTS_FILE
from mmnas_hf.genotype import Genotype
from mmnas_hf.training import TrainArguments, build_model, train


@dataclass
class ArchitectureArguments:
    """What to train."""

    _argument_group_name: ClassVar[str] = "architecture"

    genotype: str = field(
        default="SS|GGRG",
        metadata={"help": "Short form, JSON file, published name such as mmnas-vqa, or OWNER/NAME on the Hub."},
    )
    inherit: str | None = field(
        default=None, metadata={"help": "Supernet folder whose weights the network starts from."}
    )


def main() -> None:
    parser = Parser((DataArguments, ArchitectureArguments, ModelArguments, OutputArguments, TrainArguments), __doc__)
    data, architecture, sizes, output, args = parser.parse()
    genotype = Genotype.load(architecture.genotype)
    corpus = load_corpus(data, load_tokenizer(architecture.inherit))
    if architecture.inherit:
        model = load_model(corpus.task, architecture.inherit).derive(genotype)
        corpus.collator(model.config)
    else:
        model = build_model(corpus, build_config(corpus, sizes, genotype=genotype), args.seed)
        start_words(model, corpus, sizes.word_vectors, args.seed)
    rows, scored = corpus.rows("train"), corpus.rows("test", data.eval_images)
    claim_folder(args, output.overwrite, output.resume)
    record = start_record(args, data, architecture, sizes, corpus=corpus, repeats=parser.repeats)
    folder = record.folder

    trained = train(model, corpus, rows, scored, args)
    if args.process_index == 0:
        with writing(folder, folder):
            model.save_pretrained(folder)
            corpus.processor.save_pretrained(folder)
    results = {
        "genotype": str(genotype),
        "texts": len(rows),
        "parameters": trained.parameters,
        "seconds": trained.seconds,
        "metrics": trained.metrics,
    }
    save_results(args, folder / RESULTS_FILE, results)
    if args.process_index == 0:
        write_card(folder)
    score = trained.metrics[corpus.task.metric]
    say(args, f"{genotype}: {corpus.task.metric} {score:.3f} in {trained.seconds:.0f} s; see {folder}")
    record.finish()
    share(args)


if __name__ == "__main__":
    run(main)
