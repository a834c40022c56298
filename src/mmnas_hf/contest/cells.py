"""The cells of a comparison: a search, a training from scratch, or scores of one supernet; each runs by itself."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..checkpoints import newest_good
from ..cli.loading import start_words
from ..comparison import Candidate, Plan, ReportSteps, train_candidate
from ..configuration_mmnas import MMnasConfig
from ..corpus import Corpus
from ..files import SEARCHES_FOLDER, SUPERNET_FOLDER
from ..genotype import Genotype
from ..search.arguments import SearchArguments
from ..search.run import search
from ..search.scoring import SupernetScorer
from ..search.strategies import build_strategy
from ..tasks import Rows
from ..training import TrainArguments, build_model

Report = Callable[[int], Any]  # is told how many units of work were just done
Result = dict[str, Any]  # plain data


class Contender(NamedTuple):
    """A strategy as it takes part: `name` may say more than the strategy's own, such as proxyless-two."""

    name: str
    strategy: str
    gates: str


@dataclass(frozen=True)
class Setting:
    """All that cells share; a cell and its setting are everything that its result depends on."""

    folder: Path
    corpus: Corpus
    config: MMnasConfig  # of the space
    search: SearchArguments
    retraining: TrainArguments
    word_vectors: str | None
    eval_images: int | None

    @property
    def scored(self) -> Rows:
        """What trained networks are compared on; no choice depends on it."""
        return self.corpus.rows("test", self.eval_images)

    def watched(self, seed: int) -> Rows:
        """What the supernet of a search with this seed is scored on."""
        return self.corpus.watched_rows(seed, self.eval_images)


class Cell(Protocol):
    """A piece of work with a name that no other has; `units` are roughly proportional to its time."""

    @property
    def name(self) -> str: ...

    @property
    def units(self) -> int: ...

    def run(self, setting: Setting, report: Report) -> Result: ...


@dataclass(frozen=True)
class SearchCell:
    """One strategy's search with one seed; an interrupted one continues from its last checkpoint."""

    contender: Contender
    seed: int
    steps: int

    @property
    def name(self) -> str:
        return f"search-{self.contender.name}-seed{self.seed}"

    @property
    def units(self) -> int:
        return self.steps

    def folder(self, setting: Setting) -> Path:
        return setting.folder / SEARCHES_FOLDER / f"{self.contender.name}-seed{self.seed}"

    def arguments(self, setting: Setting) -> SearchArguments:
        folder = self.folder(setting)
        checkpoint = newest_good(folder)
        return contender_arguments(
            setting.search,
            self.contender,
            self.seed,
            max_steps=self.steps,
            output_dir=str(folder),
            resume_from_checkpoint=None if checkpoint is None else str(checkpoint),
        )

    def run(self, setting: Setting, report: Report) -> Result:
        args, corpus = self.arguments(setting), setting.corpus
        if args.resume_from_checkpoint is None:
            shutil.rmtree(args.output_dir, ignore_errors=True)
            Path(args.output_dir).mkdir(parents=True)
        split = corpus.search_split(self.seed)
        supernet = build_model(corpus, setting.config, self.seed)
        start_words(supernet, corpus, setting.word_vectors, self.seed)
        strategy = build_strategy(setting.config.space, args, self.steps)
        watched = setting.watched(self.seed)
        searched = search(supernet, strategy, corpus, args, split, watched, callbacks=[ReportSteps(report)])
        told = {name: value for name, value in searched._asdict().items() if name != "supernet"}
        continued = args.resume_from_checkpoint is not None
        return told | {"genotype": str(searched.genotype), "continued": continued}


@dataclass(frozen=True)
class TrainingCell:
    """One network trained from scratch with one seed, whoever asks for it."""

    genotype: Genotype
    seed: int
    steps: int
    blind: bool = False

    @property
    def name(self) -> str:
        return f"training-{self.genotype.fingerprint}{'-blind' * self.blind}-seed{self.seed}"

    @property
    def units(self) -> int:
        return self.steps

    def run(self, setting: Setting, report: Report) -> Result:
        args = replace(setting.retraining, seed=self.seed)
        plan = Plan(setting.corpus, setting.config, args, setting.scored)
        return train_candidate(Candidate(self.name, self.genotype, self.blind), plan, report)


@dataclass(frozen=True)
class ScoringCell:
    """What networks score with the weights that they inherit from the supernet of one search."""

    search: SearchCell
    genotypes: tuple[Genotype, ...]

    @property
    def name(self) -> str:
        return f"scoring-{self.search.contender.name}-seed{self.search.seed}-networks{len(self.genotypes)}"

    @property
    def units(self) -> int:
        return len(self.genotypes)

    def run(self, setting: Setting, report: Report) -> Result:
        corpus, args = setting.corpus, self.search.arguments(setting)
        supernet = corpus.task.model_class.from_pretrained(self.search.folder(setting) / SUPERNET_FOLDER)
        with SupernetScorer(supernet, corpus, setting.watched(self.search.seed), args) as scorer:
            scores = scorer(self.genotypes)
        report(self.units)
        return {"scores": {str(genotype): score for genotype, score in zip(self.genotypes, scores, strict=True)}}


def contender_arguments(args: SearchArguments, contender: Contender, seed: int = 0, **changes: Any) -> SearchArguments:
    """A search's arguments as this contender runs it; only evaluations and checkpoints are left to report."""
    return replace(
        args,
        strategy=contender.strategy,
        gates=contender.gates,
        seed=seed,
        disable_tqdm=True,
        logging_strategy="no",
        report_to="none",
        **changes,
    )


def timed(cell: Cell, setting: Setting, report: Report) -> Result:
    """A cell's result, with the seconds of wall-clock and of processors that it took this time."""
    wall, processor = time.perf_counter(), time.process_time()
    result = cell.run(setting, report)
    return result | {
        "seconds": round(time.perf_counter() - wall, 2),
        "processor_seconds": round(time.process_time() - processor, 2),
    }
