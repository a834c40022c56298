"""Networks trained from scratch with the same budget, side by side."""

import multiprocessing
import random
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from tqdm.auto import tqdm
from transformers import TrainerCallback

from .configuration_mmnas import MMnasConfig
from .corpus import Corpus
from .errors import InputError
from .files import RESULTS_FILE, read_json
from .genotype import Genotype, SearchSpace, mcan
from .tasks import Rows
from .training import TrainArguments, build_model, quiet, train
from .workers import FRESH, worker_pool

REFRESH_SECONDS = 0.5


@dataclass
class CompareArguments:
    """What a search's result is compared with, and at which budget."""

    _argument_group_name: ClassVar[str] = "comparison"

    random_architectures: int = field(default=3, metadata={"help": "Random architectures trained for comparison."})
    retrain_budget: float = field(
        default=1.0, metadata={"help": "Training steps of every compared network, as a share of the search's steps."}
    )
    retrain_learning_rate: float | None = field(default=None, metadata={"help": "Default: the search's."})
    text_only: bool = field(default=False, metadata={"help": "Also train MCAN's pattern without seeing the images."})
    jobs: int = field(default=0, metadata={"help": "Networks trained at a time; 0: on CPUs one a core, else one."})


class Candidate(NamedTuple):
    """A network to train; `blind` ones see no image."""

    name: str
    genotype: Genotype
    blind: bool = False


class Plan(NamedTuple):
    """All that a worker process needs to train candidates."""

    corpus: Corpus
    config: MMnasConfig  # of the space; each candidate derives its own
    args: TrainArguments
    scored: Rows


def candidates(found: Genotype, space: SearchSpace, args: CompareArguments, seed: int) -> list[Candidate]:
    """The found architecture, MCAN's pattern at the same depth and random ones that differ from each other."""
    pattern = mcan(len(space.encoder), len(space.decoder))
    drawn = random_genotypes(space, args.random_architectures, random.Random(seed))
    named = [Candidate("found", found), Candidate("mcan", pattern)]
    named += [Candidate(f"random {number}", genotype) for number, genotype in enumerate(drawn, start=1)]
    return named + [Candidate("text only", pattern, blind=True)] * args.text_only


def random_genotypes(space: SearchSpace, count: int, generator: random.Random) -> list[Genotype]:
    """Uniformly drawn genotypes that differ from each other; all of a space that has no more."""
    drawn: dict[Genotype, None] = {}
    while len(drawn) < min(count, space.size):
        drawn[space.sample(generator)] = None
    return list(drawn)


def retraining_arguments(args: TrainArguments, compare: CompareArguments, search_steps: int) -> TrainArguments:
    """The search's arguments turned into those of every compared network."""
    return quiet(
        args,
        max_steps=max(1, round(search_steps * compare.retrain_budget)),
        learning_rate=compare.retrain_learning_rate or args.learning_rate,
    )


class ReportSteps(TrainerCallback):
    """Tells somebody of every step done."""

    def __init__(self, report: Callable[[int], Any]):
        self.report = report

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.report(1)


def train_candidate(candidate: Candidate, plan: Plan, report: Callable[[int], Any]) -> dict[str, Any]:
    """Train one network from scratch on all training rows and score it on the test rows: a row of the table."""
    config = plan.config.with_genotype(candidate.genotype)
    corpus = plan.corpus.blind() if candidate.blind else plan.corpus
    model = build_model(corpus, config, plan.args.seed)
    trained = train(model, corpus, corpus.rows("train"), plan.scored, plan.args, [ReportSteps(report)])
    return {
        "name": candidate.name,
        "genotype": str(candidate.genotype),
        corpus.task.metric: trained.metrics[corpus.task.metric],
        "parameters": trained.parameters,
        "seconds": round(trained.seconds, 1),
        "metrics": trained.metrics,
    }


def compare(named: Sequence[Candidate], plan: Plan, jobs: int) -> list[dict[str, Any]]:
    """Train all candidates, `jobs` at a time, and return their rows in the given order."""
    total, hidden = len(named) * plan.args.max_steps, plan.args.process_index != 0
    with tqdm(total=total, desc="Training from scratch", unit="step", disable=hidden) as bar:
        if min(jobs, len(named)) == 1:
            return [train_candidate(candidate, plan, bar.update) for candidate in named]
        steps = FRESH.Queue()
        with worker_pool(jobs, keep_plan, plan, steps) as pool:
            futures = [pool.submit(train_in_worker, candidate) for candidate in named]
            pending = set(futures)
            while pending:
                _, pending = wait(pending, timeout=REFRESH_SECONDS)
                while not steps.empty():
                    bar.update(steps.get())
            return [future.result() for future in futures]


def keep_plan(plan: Plan, steps: Any) -> None:
    """Prepare a worker process for many candidates."""
    keep_plan.kept, keep_plan.report = plan, steps.put


def train_in_worker(candidate: Candidate) -> dict[str, Any]:
    return train_candidate(candidate, keep_plan.kept, keep_plan.report)


def default_jobs(args: TrainArguments) -> int:
    """One network a core on CPUs; one at a time on accelerators or when processes already share the work."""
    return multiprocessing.cpu_count() if args.device.type == "cpu" and args.world_size == 1 else 1


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text, without their detailed metrics."""
    from pandas import DataFrame  # noqa: PLC0415 - slow to import, and only needed at the end

    return DataFrame(rows).drop(columns="metrics").to_string(index=False, float_format="{:.3f}".format)


def read_results(folder: str | Path) -> dict[str, Any]:
    """What a finished search wrote."""
    path = Path(folder, RESULTS_FILE)
    if not path.is_file():
        raise InputError(f"no {path}; give output folders of finished searches")
    return read_json(path)


def summary(results: Sequence[dict[str, Any]], metric: str | None = None) -> str:
    """Mean, deviation and values over runs of each kind of network; a run's random ones count as their mean."""
    from pandas import DataFrame  # noqa: PLC0415

    metric, known = metric or results[0]["metric"], results[0]["networks"][0]["metrics"]
    if metric not in known:
        raise InputError(f"unknown metric {metric!r}; these results have: {', '.join(known)}")
    scores = DataFrame(
        {"run": number, "network": row["name"].rstrip(" 0123456789"), "score": row["metrics"][metric]}
        for number, result in enumerate(results)
        for row in result["networks"]
    )
    runs = scores.groupby(["network", "run"], sort=False)["score"].mean().groupby("network", sort=False)
    rows = DataFrame({"mean": runs.mean(), "deviation": runs.std()})
    rows["runs"] = runs.agg(lambda values: "  ".join(f"{value:.3f}" for value in values))
    return f"{metric}\n" + rows.to_string(float_format="{:.3f}".format)
