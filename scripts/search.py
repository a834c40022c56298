"""Search an architecture, then train it from scratch beside hand-made and random ones.

accelerate launch scripts/search.py
accelerate launch scripts/search.py --task vgd --seed 3
accelerate launch scripts/search.py --data nlvr --data_dir downloads/nlvr
"""

from mmnas_hf.cards import write_card
from mmnas_hf.cli import (
    DataArguments,
    ModelArguments,
    OutputArguments,
    Parser,
    SpaceArguments,
    build_config,
    claim_folder,
    load_corpus,
    run,
    save_results,
    say,
    share,
    start_record,
    start_words,
)
from mmnas_hf.comparison import (
    CompareArguments,
    Plan,
    candidates,
    compare,
    default_jobs,
    retraining_arguments,
    table,
)
from mmnas_hf.files import RESULTS_FILE, SUPERNET_FOLDER
from mmnas_hf.search.arguments import SearchArguments, check_progressive
from mmnas_hf.search.doubts import no_better_than_random
from mmnas_hf.search.run import search
from mmnas_hf.search.strategies import build_strategy
from mmnas_hf.search.strategy import prefers
from mmnas_hf.training import build_model, planned_steps


def main() -> None:
    parser = Parser(
        (DataArguments, SpaceArguments, ModelArguments, CompareArguments, OutputArguments, SearchArguments),
        __doc__,
    )
    data, space, sizes, comparison, output, args = parser.parse()
    corpus = load_corpus(data)
    config = build_config(corpus, sizes, search_space=space.space)
    split, scored = corpus.search_split(args.seed), corpus.rows("test", data.eval_images)
    check_progressive(args, len(split.weights))
    strategy = build_strategy(config.space, args, planned_steps(args, len(split.weights)))
    leans = prefers(strategy.probabilities())
    watched = corpus.watched_rows(args.seed, data.eval_images)
    supernet = build_model(corpus, config, args.seed)
    start_words(supernet, corpus, sizes.word_vectors, args.seed)
    claim_folder(args, output.overwrite, output.resume)
    record = start_record(args, data, space, sizes, comparison, corpus=corpus, repeats=parser.repeats)
    folder = record.folder

    jobs = comparison.jobs or default_jobs(args)
    searched = search(supernet, strategy, corpus, args, split, watched, jobs)
    say(args, f"found {searched.genotype} in {searched.seconds:.0f} s, entropy {searched.entropy:.2f} nats a node")
    if leans:
        moved, changed = searched.moved, searched.changed_nodes
        say(args, f"moved {moved:.2f} from prior {args.prior!r}, with another choice at {changed} nodes")

    named = candidates(searched.genotype, config.space, comparison, args.seed)
    retraining = retraining_arguments(args, comparison, searched.steps)
    rows = compare(named, Plan(corpus, config, retraining, scored), jobs)
    found = {name: value for name, value in searched._asdict().items() if name not in ("supernet", "warnings")}
    compared = no_better_than_random(rows, corpus.task.metric)
    warnings = [*searched.warnings, *([compared] if compared else [])]
    results = {
        "search": found | {"genotype": str(searched.genotype)},
        "metric": corpus.task.metric,
        "retraining_steps": retraining.max_steps,
        "networks": rows,
        "warnings": warnings,
    }
    save_results(args, folder / RESULTS_FILE, results)
    if args.process_index == 0:
        write_card(folder / SUPERNET_FOLDER)
    say(args, table(rows))
    for warning in warnings:
        say(args, f"warning: {warning}")
    say(args, f"search {searched.seconds:.0f} s, retraining {sum(row['seconds'] for row in rows):.0f} s; see {folder}")
    record.finish()
    share(args)


if __name__ == "__main__":
    run(main)
