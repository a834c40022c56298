"""Runs that are killed by SIGKILL and resumed, one after the other, in processes forked from one that has all imports.

Called with a file of chains (see `Chain`) in JSON and a file for what happened. A chain is one run of a script, killed
at each of its moments in turn and started again with the same command.
"""

import gc
import importlib
import itertools
import json
import os
import random
import signal
import socket
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import pandas  # noqa: F401
import torch

import mmnas_hf.cards
import mmnas_hf.comparison
import mmnas_hf.search.run  # children share what was imported before they were forked
from mmnas_hf.cli import claim_folder
from mmnas_hf.configuration_mmnas import MMnasConfig
from mmnas_hf.resumable import ResumableTrainer
from mmnas_hf.search.cost import Price
from mmnas_hf.search.run import search
from mmnas_hf.search.strategies import build_strategy
from mmnas_hf.search.trainer import SearchTrainer
from mmnas_hf.training import build_model, planned_steps
from scripts import run_script
from tiny import SIZES, SPACE, search_arguments, tiny_corpus

LAST = ("mmnas_hf.search.run:save", "mmnas_hf.search.scoring:write_json")
STEPS = "steps"  # a file beside the run's folder with a dot for every training step


class Moment(NamedTuple):
    """When a process kills itself: at the `count`-th call of a function, before it, after it, or halfway through."""

    function: str  # module:name, or module:class.name
    when: str = "before"  # before, after, torn (half of the file it wrote remains)
    count: int = 1
    rank: int = 0


class Chain(NamedTuple):
    """A run and the moments at which it is killed; before, `outside` kills it so many seconds after its first step."""

    name: str
    command: list[str]  # a script and its flags, or "search" and the flags of `search_tiny`
    folder: str
    moments: list[Moment]
    outside: float | None = None
    processes: int = 1


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: Moment) -> None:
    """Have this process kill itself at the moment."""
    module, _, path = moment.function.partition(":")
    owner = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original, calls = getattr(owner, name), itertools.count(1)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        now = next(calls) == moment.count
        if now and moment.when == "before":
            kill_self()
        file = Path(next((arg for arg in args if isinstance(arg, (str, Path))), os.devnull))
        before = file.stat().st_size if file.exists() else 0
        result = original(*args, **kwargs)
        if now and moment.when == "torn":
            os.truncate(file, (before + file.stat().st_size) // 2)
        if now:
            kill_self()
        return result

    setattr(owner, name, wrapped)


def count_steps(folder: Path) -> None:
    """Keep count of training steps where a killed process leaves it."""
    original = ResumableTrainer.training_step

    def training_step(*args: Any, **kwargs: Any) -> Any:
        with folder.with_name(f"{folder.name}-{STEPS}").open("a") as file:
            file.write(".")
        return original(*args, **kwargs)

    ResumableTrainer.training_step = training_step


def free(trainer: SearchTrainer) -> dict[str, Price]:
    """Prices of zero for everything."""
    return defaultdict(lambda: Price(0, 0, 0))


def search_tiny(folder: str, task: str, flags: str) -> None:
    """A search without the comparison that the script makes after it."""
    SearchTrainer.measure_prices = free  # what a part costs takes longer to measure than the search
    corpus, args = tiny_corpus(task), search_arguments(folder, **json.loads(flags))
    claim_folder(args, overwrite=False, resume=True)
    Path(folder, "run.json").write_text("{}")
    config = MMnasConfig(**corpus.settings(), **SIZES, search_space=SPACE)
    split = corpus.search_split(args.seed)
    strategy = build_strategy(SPACE, args, planned_steps(args, len(split.weights)))
    search(build_model(corpus, config, args.seed), strategy, corpus, args, split, corpus.rows("validation"))


def work(chain: Chain, attempt: int) -> None:
    """One try of a chain's run in this process, which ends with it."""
    torch.set_num_threads(1)
    folder = Path(chain.folder)
    count_steps(folder)
    if 0 <= attempt < len(chain.moments) and int(os.environ.get("RANK", "0")) == chain.moments[attempt].rank:
        arm(chain.moments[attempt])
    script, *flags = chain.command
    if script == "search":
        search_tiny(chain.folder, *flags)
    elif code := run_script(script, *flags, "--output_dir", folder, "--resume"):
        sys.exit(code)


def fork(chain: Chain, attempt: int, place: dict[str, str]) -> int:
    """Start a try in a process of its own."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.environ.update(place)
            work(chain, attempt)
            code = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return child


def launch(chain: Chain, attempt: int) -> list[int]:
    """Start all processes of a try, as torchrun does."""
    if chain.processes == 1:
        return [fork(chain, attempt, {})]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": str(chain.processes)}
    ranks = map(str, range(chain.processes))
    return [fork(chain, attempt, {**place, "RANK": rank, "LOCAL_RANK": rank}) for rank in ranks]


def wait(children: list[int]) -> list[int]:
    """How each process ended, as a signal or minus an exit code; once one has failed the others are told to end."""
    ended: dict[int, int] = {}
    while len(ended) < len(children):
        child, status = os.wait()
        ended[child] = os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
        if ended[child] and len(ended) == 1:
            for other in set(children) - {child}:
                os.kill(other, signal.SIGTERM)
    return [ended[child] for child in children]


def follow(chain: Chain) -> list[tuple[list[int], int]]:
    """Run a chain to its end: how the processes of each try ended, and how many training steps it took."""
    counter, report = Path(f"{chain.folder}-{STEPS}"), []
    for attempt in range(-(chain.outside is not None), len(chain.moments) + 1):
        counter.unlink(missing_ok=True)
        children = launch(chain, attempt)
        if attempt < 0:
            while not counter.exists():
                time.sleep(0.001)
            time.sleep(chain.outside)
            os.kill(children[0], signal.SIGKILL)
        report.append((wait(children), len(counter.read_text()) if counter.exists() else 0))
    return report


def draw(moments: dict[str, tuple[str, str, range]], seed: int, processes: int = 1) -> list[Moment]:
    """A moment of each kind at a random call, in random order but for what comes after the training."""
    generator = random.Random(seed)
    kinds = sorted(moments.values(), key=lambda kind: (kind[0] in LAST, generator.random()))
    return [
        Moment(function, when, generator.choice(counts), generator.randrange(processes))
        for function, when, counts in kinds
    ]


def read_chain(plain: list[Any]) -> Chain:
    chain = Chain(*plain)
    return chain._replace(moments=[Moment(*moment) for moment in chain.moments])


def save_time() -> None:
    """Leave out of every try what is the same in all, or no part of what is resumed."""
    for name in ("draw_genotype", "draw_probabilities"):
        setattr(mmnas_hf.search.run, name, lambda *args, **kwargs: None)
    gc.freeze()


def main(plan: Path, report: Path) -> None:
    save_time()
    chains = map(read_chain, json.loads(plan.read_text()))
    report.write_text(json.dumps({chain.name: follow(chain) for chain in chains}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
