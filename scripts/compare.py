"""Compare search strategies at an equal budget: search with several seeds, and train all that is found alike.

Run the same command again to continue a comparison that was stopped; what is finished is never done again.

python scripts/compare.py
python scripts/compare.py --task vqa --strategies proxyless darts random --seeds 0 1
python scripts/compare.py --data nlvr --data_dir downloads/nlvr --equal examples
"""

from dataclasses import replace
from pathlib import Path

from mmnas_hf.cli import (
    DataArguments,
    ModelArguments,
    OutputArguments,
    Parser,
    SpaceArguments,
    build_config,
    load_corpus,
    run,
    show,
    start_record,
)
from mmnas_hf.comparison import default_jobs, retraining_arguments
from mmnas_hf.contest.budget import Budget
from mmnas_hf.contest.cells import Setting
from mmnas_hf.contest.folder import check_data, check_settings, claimed, write_report
from mmnas_hf.contest.plan import Contest, ContestArguments
from mmnas_hf.contest.report import markdown, report
from mmnas_hf.contest.running import Finished, run_cells
from mmnas_hf.errors import InputError, RunError
from mmnas_hf.search.arguments import SearchArguments
from mmnas_hf.training import planned_steps


def main() -> None:
    parser = Parser(
        (DataArguments, SpaceArguments, ModelArguments, ContestArguments, OutputArguments, SearchArguments),
        __doc__,
    )
    data, space, sizes, comparison, output, args = parser.parse()
    if args.world_size > 1:
        raise InputError("compare.py shares its work among processes by itself; start it with python, and give --jobs")
    folder = Path(args.output_dir)
    if not output.overwrite:
        check_settings(folder, args, data, space, sizes, comparison)
    corpus = load_corpus(data)
    if not output.overwrite:
        check_data(folder, corpus)
    config = build_config(corpus, sizes, search_space=space.space)
    split = corpus.search_split(args.seed)
    searching = replace(args, max_steps=planned_steps(args, len(split.weights)))
    retraining = retraining_arguments(args, comparison, searching.max_steps)
    setting = Setting(folder, corpus, config, searching, retraining, sizes.word_vectors, data.eval_images)
    budget = Budget(corpus, config, searching, corpus.task.scored_examples(setting.watched(args.seed)))
    contest = Contest(comparison, config.space, corpus.task.name, budget, retraining.max_steps, args.seed)
    with claimed(folder, output.overwrite):
        record = start_record(args, data, space, sizes, comparison, corpus=corpus, repeats=parser.repeats)
        jobs = comparison.jobs or default_jobs(args)
        failed = run_cells(contest.cells, contest.follow, setting, jobs)
        result = report(contest, Finished(folder), corpus, failed)
        write_report(folder, result)
        record.finish()
    show(markdown(result))
    if failed:
        raise RunError(f"{len(failed)} cells failed ({', '.join(failed)}); run the same command to try them again")
    show(f"see {folder}")


if __name__ == "__main__":
    run(main)
