"""Tiny searches that every process of a launcher runs; each leaves what it saw in the given folder."""

import errno
import gc
import os
import socket
import struct
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from transformers import TrainerCallback

import tiny
from mmnas_hf.cli import claim_folder
from mmnas_hf.configuration_mmnas import MMnasConfig
from mmnas_hf.data.scenes import load_scenes
from mmnas_hf.errors import InputError, RunError
from mmnas_hf.genotype import Genotype, SearchSpace
from mmnas_hf.launches import leave
from mmnas_hf.search.arguments import SearchArguments
from mmnas_hf.search.proxyless import GATES
from mmnas_hf.search.scoring import SupernetScorer
from mmnas_hf.search.strategies import STRATEGIES
from mmnas_hf.search.trainer import SearchTrainer
from mmnas_hf.tasks import TASKS
from mmnas_hf.training import TrainArguments, build_model, quiet, train
from tiny import search_arguments, search_trainer, tiny_corpus

WHOLE_BATCH = 8
# Where Linux's tcp_info holds tcpi_bytes_sent and tcpi_bytes_retrans: a busy system sends some twice, unasked.
BYTES_SENT, ITS_END = 200, 216
UNEVEN = {"train": 37, "validation": 5, "test": 5}
SCENES = {"train": 40, "validation": 10}

OTHER_STRATEGIES = [name for name in STRATEGIES if name != SearchArguments.strategy]

State = dict[str, Any]


@cache
def shared_corpus(task: str) -> tiny.Corpus:
    """A corpus that no search changes."""
    return tiny_corpus(task)


def ended(trainer: SearchTrainer) -> State:
    """What a search has after its last step."""
    trainer.train()
    return {
        "alphas": [alpha.detach() for alpha in getattr(trainer.strategy, "alphas", ())],
        "weights": trainer.model.state_dict(),
        "processes": trainer.args.world_size,
    }


def gated(folder: Path, gates: str) -> State:
    args = search_arguments(folder, gates=gates, per_device_train_batch_size=4, max_steps=6)
    return ended(search_trainer(shared_corpus("vqa"), args))


def matching(folder: Path) -> State:
    """A search for matching with hard negatives: what was scored and found before a step, and where it ended."""
    args = search_arguments(
        folder, per_device_train_batch_size=4, max_steps=4, hard_negatives=6, per_device_eval_batch_size=16
    )
    trainer = search_trainer(shared_corpus("itm"), args)
    scores = trainer.predictions(trainer.eval_dataset)
    trainer.refresh_negatives(0)
    negatives = trainer.train_dataset.state_dict()
    return {"scores": [torch.from_numpy(matrix) for matrix in scores], "negatives": negatives, **ended(trainer)}


def whole(folder: Path, task: str, strategy: str = "proxyless") -> State:
    """A search whose processes share a batch, so that their number should not matter."""
    args = search_arguments(
        folder,
        per_device_train_batch_size=WHOLE_BATCH // int(os.environ.get("WORLD_SIZE", "1")),
        strategy=strategy,
        evaluations=4,
        weight_steps=2,
        hard_negatives=6 if task == "itm" else 0,  # random ones are another pair of the process' own part
        adam_epsilon=1e-6,  # Adam blows the rounding errors of gradients below its epsilon up to whole steps
    )
    trainer = search_trainer(shared_corpus(task), args, dropout=0.0)
    state = ended(trainer)
    with SupernetScorer(trainer.model, trainer.corpus, trainer.eval_dataset, args) as scorer:
        while genotypes := trainer.strategy.propose():
            trainer.strategy.receive(scorer(genotypes))
    return {**state, "genotype": str(trainer.strategy.genotype())}


def accumulating(folder: Path) -> State:
    """What each step of two batches ran, had gradients for, and sent."""
    seen = Steps()
    trainer = wide_trainer(folder, gradient_accumulation_steps=2)
    trainer.add_callback(seen)
    return {**ended(trainer), "steps": seen.steps}


def sending(folder: Path) -> State:
    """What each step sent."""
    seen = Steps()
    trainer = wide_trainer(folder)
    trainer.add_callback(seen)
    trainer.train()
    return {"steps": seen.steps, "optimised": optimised(trainer)}


def sending_all(folder: Path) -> State:
    """What `DistributedDataParallel` would send for a step, and its supernet's parameters."""
    trainer = wide_trainer(folder)
    wrapped = DistributedDataParallel(trainer.model, find_unused_parameters=True)
    inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    distributed.barrier()
    before = sent_bytes()
    wrapped(**inputs, path=trainer.strategy.weight_path(0)).loss.backward()
    distributed.barrier()
    return {"sent": sent_bytes() - before, "supernet": sum(p.nbytes for p in trainer.model.parameters())}


def wide_trainer(folder: Path, **changes: Any) -> SearchTrainer:
    """A search that only trains weights, of a network with several nodes."""
    args = search_arguments(folder, per_device_train_batch_size=4, max_steps=4, warm_up=1.0, **changes)
    return search_trainer(shared_corpus("vqa"), args, SearchSpace.chain(2, 4))


class Steps(TrainerCallback):
    """Remembers for each step the bytes sent, the active parameters, and the path's own."""

    def __init__(self):
        self.steps: list[State] = []

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        distributed.barrier()
        self.before = sent_bytes()

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs) -> None:
        distributed.barrier()
        sent = sent_bytes() - self.before
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        self.steps.append({"sent": sent, "gradients": gradients})


def optimised(trainer: SearchTrainer) -> dict[str, int]:
    """How often the optimiser has moved each parameter."""
    names = {parameter: name for name, parameter in trainer.model.named_parameters()}
    states = trainer.optimizer.state
    return {names[parameter]: int(state["step"]) for parameter, state in states.items()}


def sent_bytes() -> int:
    """What this process has sent through its sockets, as the system counts it."""
    descriptors = [link for link in Path("/proc/self/fd").glob("*") if link.is_symlink()]
    sockets = [link for link in descriptors if str(link.readlink()).startswith("socket:")]
    return sum(sent_through(socket.socket(fileno=os.dup(int(link.name)))) for link in sockets)


def sent_through(connection: socket.socket) -> int:
    with connection:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return 0
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, ITS_END)
        sent, again = struct.unpack_from("QQ", info, BYTES_SENT)
        return sent - again


def half_precision(folder: Path) -> State:
    """A search under autocast, and the type that a layer computed in."""
    trainer = search_trainer(shared_corpus("vqa"), search_arguments(folder, bf16=True, per_device_train_batch_size=4))
    types = set()
    layer = trainer.model.mmnas.regions
    layer.register_forward_hook(lambda module, inputs, output: types.add(output.dtype))
    return {**ended(trainer), "types": types}


def checkpointing(folder: Path, on: bool) -> State:
    args = search_arguments(folder, per_device_train_batch_size=4, gradient_checkpointing=on)
    return ended(search_trainer(shared_corpus("vqa"), args, dropout=0.0))


def derived(folder: Path) -> State:
    """The training of one network with every operation there is."""
    corpus, args = shared_corpus("vqa"), search_arguments(folder, per_device_train_batch_size=4, max_steps=3)
    genotype = Genotype(tuple(tiny.ENCODER_OPERATIONS), tuple(tiny.DECODER_OPERATIONS))
    config = MMnasConfig(**corpus.settings(), **tiny.SIZES, genotype=genotype)
    trained = train(build_model(corpus, config, 0), corpus, corpus.rows("train"), corpus.rows("test"), quiet(args))
    return {"weights": trained.model.state_dict()}


def drifting(folder: Path, perturb: Callable[[SearchTrainer], None], step: int) -> State:
    """A search of whose last process something is changed, and what it says to that."""
    args = search_arguments(folder, per_device_train_batch_size=4, eval_strategy="steps", eval_steps=4)
    trainer = search_trainer(shared_corpus("vqa"), args)
    trainer.add_callback(Perturbation(trainer, perturb, step))
    return {"error": error_of(trainer), "step": trainer.state.global_step}


def keeping_best(folder: Path) -> State:
    """A search that ends with the weights of its best checkpoint, which is not the last one."""
    trainer = best_trainer(folder.with_name("best"))
    return {**ended(trainer), "best": Path(trainer.state.best_model_checkpoint).name}


def best_trainer(folder: Path) -> SearchTrainer:
    """A search of four steps with two checkpoints, of which the first is the best."""
    steps = {
        f"{what}_{name}": value for what in ("eval", "save") for name, value in (("strategy", "steps"), ("steps", 2))
    }
    args = search_arguments(
        folder,
        per_device_train_batch_size=4,
        max_steps=4,
        load_best_model_at_end=True,
        greater_is_better=True,  # of the loss
        **steps,
    )
    return search_trainer(shared_corpus("vqa"), args)


def one_cannot_save(folder: Path) -> State:
    """What all processes say of a disk that is full for the first one alone, after a checkpoint that is the best."""
    trainer = best_trainer(folder.with_name("full disk"))
    save = trainer.model.save_pretrained

    def save_pretrained(*args: Any, **kwargs: Any) -> None:
        if trainer.state.global_step == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(*args, **kwargs)

    trainer.model.save_pretrained = save_pretrained
    return {"error": error_of(trainer)}


def error_of(trainer: SearchTrainer) -> str:
    """What a training ends with; nothing if it does not fail."""
    try:
        trainer.train()
    except RunError as error:
        return str(error)
    return ""


def one_diverges(folder: Path) -> State:
    """What all processes say of a loss that is no number in the first one alone."""
    trainer = search_trainer(shared_corpus("vqa"), search_arguments(folder, per_device_train_batch_size=4))
    compute_loss = trainer.compute_loss

    def spoilt(*args: Any, **kwargs: Any) -> Any:
        spoils = trainer.state.global_step == 1 and args[0].training and trainer.args.process_index == 0
        return compute_loss(*args, **kwargs) * (torch.nan if spoils else 1)

    trainer.compute_loss = spoilt
    return {"error": error_of(trainer)}


class Perturbation(TrainerCallback):
    """Changes something in the last process, at the end of step 4, which an evaluation follows, or of another one."""

    def __init__(self, trainer: SearchTrainer, perturb: Callable[[SearchTrainer], None], step: int):
        self.trainer, self.perturb, self.step = trainer, perturb, step

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if state.global_step == self.step and args.process_index == args.world_size - 1:
            self.perturb(self.trainer)


@torch.no_grad()
def move_alphas(trainer: SearchTrainer) -> None:
    trainer.strategy.alphas[1][0] += 1e-6


@torch.no_grad()
def turn_alphas(trainer: SearchTrainer) -> None:
    for alpha in trainer.strategy.alphas:
        alpha.copy_(torch.where(torch.arange(len(alpha)) == len(alpha) - 1 - alpha.argmax(), 50.0, 0.0))


@torch.no_grad()
def move_a_weight(trainer: SearchTrainer) -> None:
    trainer.model.mmnas.regions.weight[0, 0] += 1e-3


def uneven(folder: Path) -> State:
    """The sizes of the batches of both loaders, of rows that do not divide by processes and batch size."""
    args = search_arguments(folder, per_device_train_batch_size=3)
    trainer = search_trainer(tiny_corpus("vqa", images=UNEVEN), args)
    loaders = {"weights": trainer.get_train_dataloader(), "architecture": trainer.make_architecture_loader()}
    sizes = {name: [len(batch["input_ids"]) for batch in loader] for name, loader in loaders.items()}
    rows = {"weights": len(trainer.train_dataset), "architecture": len(trainer.architecture_dataset)}
    return {"sizes": sizes, "rows": rows}


def launched(folder: Path) -> State:
    """What the arguments of a run know of the launch without any flag."""
    args = TrainArguments(output_dir=str(folder))
    return {"processes": args.world_size, "rank": args.process_index, "device": args.device.type}


def claiming(folder: Path) -> State:
    """What all processes say of an output folder that is not free."""
    folder.mkdir(parents=True, exist_ok=True)
    Path(folder, "run.json").touch()
    try:
        claim_folder(search_arguments(folder), overwrite=False)
    except InputError as error:
        return {"error": str(error)}
    return {"error": ""}


def generating(folder: Path) -> State:
    """The first use of `scenes` by all processes at the same time."""
    data = load_scenes("vgd", seed=31, images=SCENES)
    return {"texts": [row["expression"] for row in data.texts["train"]], "images": len(data.images)}


def leaving(folder: Path) -> State:
    """The end of a script."""
    before = distributed.is_initialized()
    leave()
    return {"before": before, "after": distributed.is_initialized()}


SCENARIOS: dict[str, Callable[[Path], State]] = {
    "launched": launched,
    "generating": generating,
    **{gates: lambda folder, gates=gates: gated(folder, gates) for gates in GATES},
    "matching": matching,
    **{f"whole {task}": lambda folder, task=task: whole(folder, task) for task in TASKS},
    **{f"by {name}": lambda folder, name=name: whole(folder, "vqa", name) for name in OTHER_STRATEGIES},
    "accumulating": accumulating,
    "sending": sending,
    "sending all": sending_all,
    "half precision": half_precision,
    "checkpointing": lambda folder: checkpointing(folder, True),
    "no checkpointing": lambda folder: checkpointing(folder, False),
    "derived": derived,
    "other alphas": lambda folder: drifting(folder, move_alphas, 4),
    "other weights": lambda folder: drifting(folder, move_a_weight, 4),
    "other paths": lambda folder: drifting(folder, turn_alphas, 2),
    "keeping the best": keeping_best,
    "one diverges": one_diverges,
    "one cannot save": one_cannot_save,
    "uneven": uneven,
    "claiming": claiming,
    "leaving": leaving,  # the last, for there is no way back
}


def main(folder: Path) -> None:
    rank = os.environ["RANK"]
    gc.freeze()  # every training collects garbage, and what was imported is none
    for name, scenario in SCENARIOS.items():
        torch.save(scenario(folder / "run"), folder / f"{name}-{rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
