"""What a comparison found: plain data, and the same as a table with notes that say what it means."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from ..corpus import Corpus
from .cells import Result, SearchCell
from .plan import Contest
from .running import Finished
from .statistics import (
    holm,
    permutation_p,
    rank_correlation,
    share_beaten,
    smallest_permutation_p,
    tau_error,
    welch_p,
)

COSTS = ("examples", "flops", "processor_seconds", "seconds")
RANDOM = "random architectures"
SHORTEST_RULE = 3  # characters below a head of a Markdown table
SIGNIFICANT = 0.05  # the p below which a difference is taken for none of chance
UNPROVEN = "these runs do not show that it is better than random"

Row = dict[str, Any]


def report(contest: Contest, finished: Finished, corpus: Corpus, failed: Mapping[str, str]) -> Result:
    """Everything that the finished cells say, as plain data."""
    metric = corpus.task.metric
    chance = [finished[cell][metric] for cell in contest.random_cells if cell in finished]
    searched, others = contenders(contest, finished, metric), baselines(contest, finished, metric)
    pattern = next((row["scores"] for row in others if row["name"] == "mcan"), [])
    add_tests(searched, chance, pattern)
    return {
        "metric": metric,
        "equal": contest.args.equal,
        "steps": contest.steps,
        "retraining_steps": contest.retraining_steps,
        "rows": searched + others + ([summary(RANDOM, chance)] if chance else []),
        "rank_correlation": correlations(contest, finished, metric),
        "inherited_on": "validation texts" if corpus.watches_validation else "held-out training texts",
        "failed": dict(failed),
    }


def summary(name: str, scores: Sequence[float]) -> Row:
    spread = stdev(scores) if len(scores) > 1 else None
    return {"name": name, "mean": fmean(scores), "deviation": spread, "scores": list(scores), "searches": []}


def contenders(contest: Contest, finished: Finished, metric: str) -> list[Row]:
    """A row for every strategy of which at least one seed came through."""
    rows = []
    for name in contest.steps:
        done = [cell for cell in contest.searches if cell.contender.name == name and cell in finished]
        pairs = [(cell, contest.found(cell, finished[cell])) for cell in done]
        searches = [describe(cell, finished[cell], finished[net], metric) for cell, net in pairs if net in finished]
        if searches:
            costs = {cost: fmean(search[cost] for search in searches) for cost in COSTS}
            scores = summary(name, [search["score"] for search in searches])
            rows.append(scores | {"searches": searches} | costs)
    return rows


def describe(cell: SearchCell, searched: Result, trained: Result, metric: str) -> Row:
    """One search, what it found and what that scored."""
    told = {name: searched[name] for name in ("genotype", "steps", "warnings", "continued", *COSTS)}
    return {"seed": cell.seed, "score": trained[metric], **told}


def baselines(contest: Contest, finished: Finished, metric: str) -> list[Row]:
    done = {
        name: [finished[cell] for cell in cells if cell in finished] for name, cells in contest.baseline_cells.items()
    }
    return [
        summary(name, [result[metric] for result in results]) | {"genotype": results[0]["genotype"]}
        for name, results in done.items()
        if results
    ]


def add_tests(rows: Sequence[Row], chance: Sequence[float], pattern: Sequence[float]) -> None:
    """How rows compare with random architectures and with MCAN's pattern; p values are corrected over the rows."""
    if chance:
        against = holm([permutation_p(row["scores"], chance) for row in rows])
        for row, p in zip(rows, against, strict=True):
            row |= {"beats_random": share_beaten(row["scores"], chance), "p_random": p}
    if pattern:
        for row, p in zip(rows, holm([welch_p(row["scores"], pattern) for row in rows]), strict=True):
            row["p_mcan"] = p


def correlations(contest: Contest, finished: Finished, metric: str) -> list[Row]:
    """For every supernet, the random architectures' inherited scores beside those from scratch."""
    if not contest.ranks:
        return []
    trained = {str(cell.genotype): finished[cell][metric] for cell in contest.random_cells if cell in finished}
    done = [search for search in contest.searches if contest.scoring(search) in finished]
    return [correlation(search, finished[contest.scoring(search)]["scores"], trained) for search in done]


def correlation(search: SearchCell, inherited: Mapping[str, float], trained: Mapping[str, float]) -> Row:
    names = [name for name in inherited if name in trained]
    pair = [inherited[name] for name in names], [trained[name] for name in names]
    return {
        "strategy": search.contender.name,
        "seed": search.seed,
        "tau": rank_correlation(*pair),
        "networks": names,
        "inherited": pair[0],
        "from_scratch": pair[1],
    }


def markdown(result: Result) -> str:
    """The report for people."""
    parts = [f"# {result['metric']} on the test texts", score_table(result["rows"]), budget_note(result)]
    tested = [row for row in result["rows"] if row.get("p_random") is not None]
    if tested:
        chance = next(row for row in result["rows"] if row["name"] == RANDOM)
        parts.append(test_note(len(tested), max(len(row["scores"]) for row in tested), len(chance["scores"])))
    if warnings := [*doubts(result["rows"]), *searches_warnings(result["rows"])]:
        parts += ["## Warnings", "\n".join(f"- {warning}" for warning in warnings)]
    if result["rank_correlation"]:
        parts += ["## Rank correlation", correlation_table(result["rank_correlation"]), correlation_note(result)]
    if result["failed"]:
        parts += ["## Failed", "\n".join(f"- {name}: {error}" for name, error in result["failed"].items())]
    return "\n\n".join(parts) + "\n"


def score_table(rows: Sequence[Row]) -> str:
    scores = ("trained network", "mean", "deviation", "n", "beats random", "p random", "p MCAN")
    costs = ("examples", "TFLOPs", "CPU s", "wall s")
    return grid((*scores, *costs), [score_cells(row) for row in sorted(rows, key=lambda row: -row["mean"])])


def score_cells(row: Row) -> list[str]:
    return [
        row["name"],
        shown(row["mean"], "{:.3f}"),
        shown(row["deviation"], "{:.3f}"),
        str(len(row["scores"])),
        shown(row.get("beats_random"), "{:.0%}"),
        shown(row.get("p_random"), "{:.4f}"),
        shown(row.get("p_mcan"), "{:.4f}"),
        shown(row.get("examples"), "{:,.0f}"),
        shown(row["flops"] / 1e12 if "flops" in row else None, "{:.3g}"),
        shown(row.get("processor_seconds"), "{:.0f}"),
        shown(row.get("seconds"), "{:.0f}"),
    ]


def budget_note(result: Result) -> str:
    steps = ", ".join(f"{name} {count:,}" for name, count in result["steps"].items())
    return (
        f"Every network was trained from scratch for {result['retraining_steps']:,} steps. Costs are those of one "
        f"search, scoring included, on average. By the number of its steps every search was to cost as many "
        f"{result['equal']}, as expected at its start: {steps}; {came_out(result)}. FLOPs are those of matrix "
        "products; scoring counts every pair of text and image as a whole pass, of which matching computes what pairs "
        "share only once. Seconds of searches that were stopped and continued are those since then."
    )


def came_out(result: Result) -> str:
    """How far what searches really cost was from equal."""
    spent = [row[result["equal"]] for row in result["rows"] if row["searches"]]
    if not spent:
        return "none is finished"
    return f"what they really cost came out within {1 - min(spent) / max(spent):.1%} of each other"


def doubts(rows: Sequence[Row]) -> list[str]:
    """A sentence on every strategy that is not shown to be better than random architectures."""
    chance = next((row["mean"] for row in rows if row["name"] == RANDOM), None)
    if chance is None:
        return []
    told = {row["name"]: unproven(row["mean"], row["p_random"], chance) for row in rows if row["searches"]}
    return [f"{name}: {why}: {UNPROVEN}" for name, why in told.items() if why]


def unproven(mean: float, p: float | None, chance: float) -> str | None:
    """What is missing from a proof that a mean is above that of chance."""
    if mean <= chance:
        return f"its mean {mean:.3f} is not above that of {RANDOM}, {chance:.3f}"
    if p is None:
        return "a single score has no p"
    return f"its p, {p:.4f}, is not below {SIGNIFICANT}" if p >= SIGNIFICANT else None


def searches_warnings(rows: Sequence[Row]) -> list[str]:
    """What searches warned of, equal warnings of one strategy together."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for search in row["searches"]:
            for warning in search["warnings"]:
                seeds.setdefault((row["name"], warning), []).append(str(search["seed"]))
    return [f"{name}, {counted('seed', of)}: {warning}" for (name, warning), of in seeds.items()]


def counted(name: str, values: Sequence[str]) -> str:
    return f"{name}{'s' * (len(values) > 1)} {', '.join(values)}"


def test_note(contenders: int, seeds: int, drawn: int) -> str:
    """Which tests were made, and what their p values cannot reach."""
    least = min(1.0, contenders * smallest_permutation_p(seeds, drawn))
    return (
        f"p random: two-sided permutation test of a contender's {seeds} scores against those of {drawn} random "
        f"architectures, each trained with one seed. p MCAN: Welch's t-test over seeds, because a permutation test of "
        f"{seeds} against {seeds} scores cannot fall below {smallest_permutation_p(seeds, seeds):.2g}; it takes scores "
        f"to be normal, which {seeds} cannot show. Both are corrected for {contenders} contenders (Holm), so that the "
        f"smallest p random can be no less than {least:.2g}. A large p says that these runs do not tell the two apart, "
        "not that they are equal. beats random: share of the random architectures that score lower."
    )


def correlation_note(result: Result) -> str:
    networks = max(len(entry["networks"]) for entry in result["rank_correlation"])
    return (
        f"Kendall's tau between what the random architectures score on {result['inherited_on']} with inherited weights "
        "and what they score on test texts, trained from scratch with one seed each: 1 is the same order, 0 none. The "
        f"noise of training alone keeps it below 1. If there were no relation, a tau over {networks} networks would "
        f"still have a standard error of {tau_error(networks):.2f}; those of several seeds share the scores from "
        "scratch, so that their mean is little more certain than one of them."
    )


def correlation_table(entries: Sequence[Row]) -> str:
    rows = []
    for name in dict.fromkeys(entry["strategy"] for entry in entries):
        taus = [entry["tau"] for entry in entries if entry["strategy"] == name]
        known = [tau for tau in taus if tau is not None]
        rows.append(
            [
                name,
                shown(fmean(known) if known else None),
                "  ".join("none" if tau is None else shown(tau) for tau in taus),
            ]
        )
    return grid(("supernet of", "mean tau", "by seed"), rows)


def shown(value: float | None, form: str = "{:.2f}") -> str:
    return "" if value is None else form.format(value)


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns also line up on a screen."""
    widths = [max(SHORTEST_RULE, *map(len, column)) for column in zip(heads, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(
        f"| {' | '.join(line)} |" for line in (aligned(heads, widths), rule, *(aligned(row, widths) for row in rows))
    )


def aligned(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = cells
    return [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
