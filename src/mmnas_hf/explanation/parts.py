"""The files that explain searches: pictures and JSON of each part; every part also returns what it has to say."""

from collections.abc import Sequence
from pathlib import Path

from ..cache import fingerprint
from ..drawing import draw_probabilities
from ..errors import InputError
from ..files import write_json
from ..genotype import SearchSpace
from ..search.scoring import Judge, SupernetScorer
from ..search.strategy import mean_entropy
from . import agreement, effects
from .agreement import Found
from .development import draw_entropy, entropy_shares, nodes_of
from .finished import Finished
from .pictures import draw_agreement, draw_effects


def explain_effects(judge: Judge, search: Finished, folder: Path, jobs: int) -> list[str]:
    """Score what the found network would be with one node changed; scores of an earlier time are used again.

    The judge's supernet is the search's own.
    """
    widened = effects.with_identity(judge.supernet, search.genotype)
    known = folder / f"scores-{key_of(judge, search)}.json"
    with SupernetScorer(widened, judge.corpus, judge.rows, judge.args, jobs, known) as scorer:
        measured = effects.measure(scorer, search.genotype)
    write_json(folder / "effects.json", measured.to_dict())
    draw_effects(measured, folder / "effects.png")
    return effects.summary(measured) + [effects.CHOSEN_HERE] * search.chose_by_scores


def key_of(judge: Judge, search: Finished) -> str:
    """What tells scores of these weights on these rows from others, in a file's name."""
    weights = sorted(search.supernet.glob("*.safetensors"))
    return fingerprint(*weights, str(search.genotype), judge.rows._fingerprint)


def explain_development(search: Finished, folder: Path) -> list[str]:
    """Draw how probabilities and entropy developed."""
    log = search.log
    if not log:
        return ["its development is not known: it was never evaluated; search with --eval_strategy steps or epoch"]
    draw_probabilities(log, folder / "probabilities.png")
    draw_entropy(log, folder / "entropy.png")
    means = [mean_entropy(nodes) for nodes in nodes_of(log)]
    shares = dict(zip(effects.names_in(search.genotype), entropy_shares(nodes_of(log)), strict=True))
    steps = [entry["step"] for entry in log]
    write_json(folder / "entropy.json", {"steps": steps, "mean": means, "nodes": shares})
    return [f"mean entropy {means[0]:.2f} nats at step {steps[0]}, {means[-1]:.2f} at step {steps[-1]}"]


def explain_agreement(found: Sequence[Found], space: SearchSpace, folder: Path) -> list[str]:
    """Compare what searches of one space found."""
    agreed = agreement.agreement(found, space)
    write_json(folder / "agreement.json", agreed.to_dict())
    draw_agreement(agreed, folder / "agreement.png")
    return agreement.summary(agreed)


def common_space(searches: Sequence[Finished]) -> SearchSpace:
    """The space that all searched; raises `InputError` if they searched several."""
    first, *others = searches
    for other in others:
        if other.space != first.space:
            raise InputError(f"{other.folder} searched another space than {first.folder}; compare those of one space")
    return first.space
