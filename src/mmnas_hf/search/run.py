"""One search from beginning to end, and what it leaves in its folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from transformers import TrainerCallback

from ..checkpoints import writing
from ..corpus import Corpus, SearchSplit
from ..drawing import draw_genotype, draw_probabilities
from ..files import DRAWING_FILE, GENOTYPE_FILE, SCORES_FILE, SUPERNET_FOLDER
from ..genotype import Genotype
from ..launches import ending_together
from ..modeling_mmnas import MMnasForTask
from ..tasks import Rows
from .arguments import SearchArguments
from .cost import SearchCost
from .doubts import chosen_by_chance, never_left_prior
from .log import read_log
from .scoring import SupernetScorer
from .strategy import Strategy, changed_nodes, mean_entropy, total_variation
from .trainer import SearchTrainer


class Searched(NamedTuple):
    """What a search found, how sure it is, and how far it moved from its prior."""

    supernet: MMnasForTask
    genotype: Genotype
    entropy: float  # in nats, averaged over nodes
    moved: float  # mean total variation distance between the final and the initial choice of a node, in [0, 1]
    changed_nodes: int  # nodes whose most probable operation is not the prior's
    steps: int
    seconds: float
    warnings: list[str]  # reasons to distrust the result
    examples: int  # pairs of text and image that ran through the network
    flops: float  # floating-point operations


def search(
    supernet: MMnasForTask,
    strategy: Strategy,
    corpus: Corpus,
    args: SearchArguments,
    split: SearchSplit,
    scored: Rows,
    jobs: int = 1,
    callbacks: Sequence[TrainerCallback] = (),
) -> Searched:
    """Search on the two parts of the training rows, scoring networks on `scored`, `jobs` at a time where it can."""
    prior = strategy.probabilities()
    trainer = SearchTrainer(supernet, args, strategy, corpus, split.weights, split.architecture, scored)
    for callback in callbacks:
        trainer.add_callback(callback)
    with ending_together(args.output_dir):
        trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
        trainer.check_agreement()
        scorer = SupernetScorer(supernet, corpus, scored, args, jobs, Path(args.output_dir, SCORES_FILE))
        scores = choose(strategy, scorer, trainer.cost, corpus.task.scored_examples(scored))
        if scores:
            trainer.note_choice()
        if trainer.is_world_process_zero():
            save(trainer)
    final = strategy.probabilities()
    doubt = chosen_by_chance(scores, len(scored)) if scores else never_left_prior(prior, final)
    return Searched(
        supernet,
        strategy.genotype(),
        mean_entropy(final),
        total_variation(prior, final),
        changed_nodes(prior, final),
        trainer.state.global_step,
        trainer.clock.seconds,
        [doubt for doubt in (doubt, *trainer.signs.doubts()) if doubt],
        trainer.cost.examples,
        trainer.cost.flops,
    )


def choose(strategy: Strategy, scorer: SupernetScorer, cost: SearchCost, examples: int) -> list[float]:
    """Let a strategy that asks for scores of whole networks decide by them; each takes so many examples."""
    scores = []
    with scorer:
        while genotypes := strategy.propose():
            new = scorer(genotypes)
            scores += new
            strategy.receive(new)
            for genotype in genotypes:
                cost.add_scoring(genotype, examples)
    return scores


def save(trainer: SearchTrainer) -> None:
    """Write the supernet, the genotype and both pictures."""
    folder, genotype = Path(trainer.args.output_dir), trainer.strategy.genotype()
    with writing(folder, folder):
        trainer.save_model(str(folder / SUPERNET_FOLDER))
        genotype.save(folder / GENOTYPE_FILE)
        draw_genotype(genotype.encoder, genotype.decoder, folder / DRAWING_FILE, title=str(genotype))
        draw_probabilities([*read_log(trainer.log_file), trainer.log_entry({})], folder / "probabilities.png")
