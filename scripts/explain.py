"""Explain what searches found: which nodes matter, how the choice came about, and where several searches agree.

python scripts/explain.py runs/search-scenes-vgd
python scripts/explain.py runs/vgd-darts-0 runs/vgd-darts-1 runs/vgd-enas-0 --output_dir runs/explained
python scripts/explain.py runs/compare/searches/* --output_dir runs/agreement --parts agreement

effects      Replaces the operation of one node at a time by every other candidate, and leaves it out, and scores the
             changed network with the weights that it inherits from the supernet, on the split that the search was
             watched on: effects.png, effects.json. To leave a node out means that its operation adds nothing to its
             input, which the node's norm still normalises.
development  Draws the probabilities and the entropy of every node over the search: probabilities.png, entropy.png,
             entropy.json. Needs evaluations during the search.
agreement    Compares two or more searches of one space node by node, and with what chance would give: agreement.png,
             agreement.json.

What is said on the screen is kept in summary.txt. Scores are kept too, so that running again is fast.
"""

import argparse
from pathlib import Path

from mmnas_hf.cli import DataArguments, load_corpus, load_model, load_tokenizer, make_room, run, show
from mmnas_hf.comparison import default_jobs
from mmnas_hf.errors import InputError
from mmnas_hf.explanation.finished import Finished, names_of, read_finished
from mmnas_hf.explanation.parts import common_space, explain_agreement, explain_development, explain_effects
from mmnas_hf.files import RECORD_FILE, read_json, write_text
from mmnas_hf.privacy import portable
from mmnas_hf.runs import RunRecord
from mmnas_hf.search.scoring import Judge
from mmnas_hf.training import TrainArguments

EXPLAINED = "explained"
PARTS = ("effects", "development", "agreement")
EVALUATION = ("per_device_eval_batch_size", "folds", "pair_memory", "bf16", "fp16", "use_cpu", "seed")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="output folders of finished searches")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help="default: all of them")
    parser.add_argument("--output_dir", type=Path, help=f"default, for a single search: {EXPLAINED} in its folder")
    parser.add_argument("--overwrite", action="store_true", help="replace the explanation that output_dir holds")
    parser.add_argument("--eval_images", type=int, help="score only texts about so many images; default: the search's")
    parser.add_argument("--data", help="where the searches' data are now, if that is not below the working folder")
    parser.add_argument("--data_dir", help="folder with the data set's files; default: the search's")
    parser.add_argument("--jobs", type=int, default=0, help="networks scored at a time; default: on CPUs one a core")
    return parser.parse_args()


def main() -> None:
    args = parse()
    searches = [read_finished(folder) for folder in args.runs]
    names, folder = names_of(searches), output_folder(args)
    space = common_space(searches) if "agreement" in args.parts else None
    explained = [portable(str(search.folder.resolve())) for search in searches]
    claim(folder, explained, args.overwrite)
    record = RunRecord(folder, {"arguments": vars(args)}, **{EXPLAINED: explained})
    told = []
    if space and len(searches) > 1:
        found = [search.found(name) for search, name in zip(searches, names, strict=True)]
        told += explain_agreement(found, space, folder)
    for search, name in zip(searches, names, strict=True):
        told += explain(search, name, folder if len(searches) == 1 else folder / name, args)
    write_text(folder / "summary.txt", "\n".join(told) + "\n")
    record.finish()
    show("\n".join([*told, f"see {folder}"]))


def output_folder(args: argparse.Namespace) -> Path:
    if args.output_dir is None and len(args.runs) > 1:
        raise InputError(f"{len(args.runs)} searches have no folder in common; give --output_dir")
    return args.output_dir or args.runs[0] / EXPLAINED


def claim(folder: Path, explained: list[str], overwrite: bool) -> None:
    """Make sure that the folder may be written: a new or empty one, or one that explains the same searches."""
    record = folder / RECORD_FILE
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        if not record.is_file() or read_json(record).get(EXPLAINED) != explained:
            raise InputError(
                f"output_dir {folder} holds something else than these searches' explanation; "
                "give another folder, or --overwrite"
            )
        return
    if folder.exists():
        make_room(folder, overwrite)


def explain(search: Finished, name: str, folder: Path, args: argparse.Namespace) -> list[str]:
    """What there is to say of one search, on its own."""
    folder.mkdir(exist_ok=True)
    told = explain_development(search, folder) if "development" in args.parts else []
    if "effects" in args.parts:
        judge = judge_of(search, folder, args)
        told += explain_effects(judge, search, folder, args.jobs or default_jobs(judge.args))
    return [f"{name}:", *told] if told else []


def judge_of(search: Finished, folder: Path, args: argparse.Namespace) -> Judge:
    """The search's supernet and the rows that it was watched on."""
    given = {"data": args.data, "data_dir": args.data_dir}
    if lost := [name for name in search.cut if given.get(name, "") is None]:
        raise InputError(f"{search.folder} does not tell in which folder they were: give --{', --'.join(lost)}")
    changes = given | {"eval_images": args.eval_images}
    data = DataArguments(**search.of("DataArguments") | {name: new for name, new in changes.items() if new is not None})
    corpus = load_corpus(data, load_tokenizer(str(search.supernet)))
    supernet = load_model(corpus.task, str(search.supernet))
    flags = {name: value for name, value in search.of("SearchArguments").items() if name in EVALUATION}
    evaluation = TrainArguments(output_dir=str(folder), report_to="none", disable_tqdm=True, **flags)
    return Judge(supernet, corpus, corpus.watched_rows(search.seed, data.eval_images), evaluation)


if __name__ == "__main__":
    run(main)
