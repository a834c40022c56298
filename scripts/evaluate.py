"""Score a trained network, or a supernet at one genotype, on a split, or write its predictions.

python scripts/evaluate.py --model runs/mine
python scripts/evaluate.py --model runs/search/supernet --genotype "SS|GGRG" --test_split validation
python scripts/evaluate.py --model runs/vqa --data tables/vqa-v2 --test_split testdev --predictions_file answers.json
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from mmnas_hf.cli import DataArguments, Parser, load_corpus, load_model, load_tokenizer, run, save_results, say
from mmnas_hf.errors import InputError
from mmnas_hf.training import TrainArguments, predict


@dataclass
class EvaluationArguments:
    """What to score."""

    _argument_group_name: ClassVar[str] = "what to score"

    model: str = field(metadata={"help": "Folder of a model with its processor, or a name on the Hub."})
    genotype: str | None = field(default=None, metadata={"help": "Which network of a supernet."})
    output_file: str | None = field(default=None, metadata={"help": "JSON file for the scores."})
    predictions_file: str | None = field(
        default=None,
        metadata={"help": "JSON file for every answer or box; for questions, what the evaluation server takes."},
    )

    def __post_init__(self) -> None:
        for name in ("output_file", "predictions_file"):
            path = getattr(self, name)
            if path and (Path(path).is_dir() or not Path(path).parent.is_dir()):
                raise InputError(f"{name} {path} cannot be written; give a file in a folder that exists")


def main() -> None:
    parser = Parser((EvaluationArguments, DataArguments, TrainArguments), __doc__)
    scored, data, args = parser.parse()
    corpus = load_corpus(data, load_tokenizer(scored.model))
    model = load_model(corpus.task, scored.model)
    if scored.genotype:
        model = model.derive(scored.genotype)
    elif model.config.space.size > 1:
        raise InputError(
            f"{scored.model} is a supernet of {model.config.space.size} networks; name one with --genotype"
        )
    if scored.predictions_file and not corpus.task.has_answers:
        raise InputError(f"task {corpus.task.name} has no predictions to write; leave predictions_file out")
    # A split without answers can still be answered.
    rows = corpus.rows("test", data.eval_images, labelled=scored.predictions_file is None)
    predictions = predict(model, corpus, rows, args)
    if scored.predictions_file:
        answers = corpus.task.answers(predictions, rows, corpus.store, model.config)
        save_results(args, Path(scored.predictions_file), answers)
        say(args, f"{len(answers)} predictions; see {scored.predictions_file}")
    if not corpus.is_labelled(rows):
        say(args, "no scores: not all texts are labelled")
        return
    metrics = corpus.task.evaluate(predictions, rows, corpus.store, model.config)
    for name, value in metrics.items():
        say(args, f"{name:32} {value:.4f}")
    if scored.output_file:
        save_results(args, Path(scored.output_file), metrics)


if __name__ == "__main__":
    run(main)
