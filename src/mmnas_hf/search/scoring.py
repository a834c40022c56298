"""Scores of whole networks with the weights that they inherit from a trained supernet."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from tqdm.auto import tqdm

from ..cache import fingerprint
from ..corpus import Corpus
from ..data.fingerprint import texts_fingerprint
from ..files import read_json, write_json
from ..genotype import Genotype
from ..launches import first_decides
from ..modeling_mmnas import MMnasForTask
from ..tasks import Rows
from ..training import TrainArguments, evaluate, quiet
from ..workers import worker_pool
from .processes import digest

FEW = 4  # genotypes that are scored sooner than worker processes start


class Judge(NamedTuple):
    """All that scoring a genotype takes."""

    supernet: MMnasForTask
    corpus: Corpus
    rows: Rows
    args: TrainArguments

    def score(self, genotype: Genotype) -> float:
        """The task's metric of one network of the supernet."""
        return evaluate(self.supernet.derive(genotype), self.corpus, self.rows, self.args)[self.corpus.task.metric]

    def fingerprint(self) -> str:
        """What tells its scores from those of other weights, on other texts, or by another evaluation."""
        evaluation = f"{self.corpus.task.name} {self.args.folds} {self.args.mixed_precision}"
        return fingerprint(str(digest(self.supernet.state_dict())), texts_fingerprint(self.rows), evaluation)


def keep_judge(judge: Judge) -> None:
    """Prepare a worker process for many genotypes."""
    keep_judge.kept = judge


def score_in_worker(genotype: Genotype) -> float:
    return keep_judge.kept.score(genotype)


def read_scores(file: Path, judged: str) -> dict[str, float]:
    """The scores in a file, if they are those of the judge with this fingerprint."""
    content = read_json(file) if file.is_file() else {}
    return content["scores"] if content.get("judge") == judged else {}


class SupernetScorer:
    """Scores genotypes on some rows, each only once; leave its context to stop its worker processes.

    Several processes of one run share every evaluation; a process alone hands genotypes out to `jobs` workers. With a
    `file`, each score is written when it is known, and found again by the next run if nothing that it depends on has
    changed.
    """

    def __init__(
        self,
        supernet: MMnasForTask,
        corpus: Corpus,
        rows: Rows,
        args: TrainArguments,
        jobs: int = 1,
        file: Path | None = None,
    ):
        self.judge = Judge(supernet, corpus, rows, quiet(args))
        self.jobs = jobs if args.world_size == 1 else 1
        self.file, self.writes = file, args.process_index == 0
        self.hidden = args.disable_tqdm or not self.writes
        self.known: dict[str, float] = {}
        if file is not None:
            self.judged = self.judge.fingerprint()
            # Processes that knew different scores would wait for each other; not all may see the first one's file.
            self.known = first_decides(args, partial(read_scores, file, self.judged))
        self.workers: ProcessPoolExecutor | None = None
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.__exit__(*error)

    def __call__(self, genotypes: Sequence[Genotype]) -> list[float]:
        """The task's metric of every genotype, higher is better."""
        new = [genotype for genotype in dict.fromkeys(genotypes) if str(genotype) not in self.known]
        hidden = self.hidden or len(new) <= 1
        for genotype, score in tqdm(
            zip(new, self.scores(new), strict=True), "Scoring networks", len(new), leave=False, disable=hidden
        ):
            self.known[str(genotype)] = score
            self.write()
        return [self.known[str(genotype)] for genotype in genotypes]

    def write(self) -> None:
        if self.file is not None and self.writes:
            write_json(self.file, {"judge": self.judged, "scores": self.known})

    def scores(self, genotypes: Sequence[Genotype]) -> Iterator[float]:
        if self.workers is None and self.jobs > 1 and len(genotypes) > FEW:
            self.workers = self.stack.enter_context(worker_pool(self.jobs, keep_judge, self.judge))
        if self.workers is None:
            return map(self.judge.score, genotypes)
        return self.workers.map(score_in_worker, genotypes)
