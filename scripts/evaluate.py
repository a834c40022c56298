"""Score a trained network, or a supernet at one genotype, on a split.

python scripts/evaluate.py --model runs/mine
python scripts/evaluate.py --model runs/search/supernet --genotype "SS|GGRG" --split validation
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from transformers import TrainingArguments

from mmnas_hf.cli import DataArguments, Parser, load_corpus, load_model, load_tokenizer, run, save_results, say
from mmnas_hf.errors import InputError
from mmnas_hf.training import evaluate


@dataclass
class EvaluationArguments:
    """What to score."""

    _argument_group_name: ClassVar[str] = "what to score"

    model: str = field(metadata={"help": "Folder of a model with its processor, or a name on the Hub."})
    genotype: str | None = field(default=None, metadata={"help": "Which network of a supernet."})
    split: str = field(default="test", metadata={"help": "Split to score."})
    output_file: str | None = field(default=None, metadata={"help": "JSON file for the scores."})


def main() -> None:
    parser = Parser((EvaluationArguments, DataArguments, TrainingArguments), __doc__)
    parser.set_defaults(per_device_eval_batch_size=256)
    scored, data, args = parser.parse()
    corpus = load_corpus(data, load_tokenizer(scored.model))
    model = load_model(corpus.task, scored.model)
    if scored.genotype:
        model = model.derive(scored.genotype)
    elif model.config.space.size > 1:
        raise InputError(
            f"{scored.model} is a supernet of {model.config.space.size} networks; name one with --genotype"
        )
    metrics = evaluate(model, corpus, corpus.rows(scored.split, data.eval_images), args)
    for name, value in metrics.items():
        say(args, f"{name:32} {value:.4f}")
    if scored.output_file:
        save_results(args, Path(scored.output_file), metrics)


if __name__ == "__main__":
    run(main)
