"""Measure speed and memory on made-up data of real size.

python scripts/benchmark.py
python scripts/benchmark.py --measure reading matching --output_file benchmark.json
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pandas import DataFrame

from mmnas_hf.benchmarks import MEASUREMENTS
from mmnas_hf.cli import Parser, run, show
from mmnas_hf.errors import InputError


@dataclass
class BenchmarkArguments:
    """What is measured."""

    _argument_group_name: ClassVar[str] = "benchmark"

    measure: list[str] = field(
        default_factory=lambda: list(MEASUREMENTS), metadata={"help": f"What to measure: {', '.join(MEASUREMENTS)}."}
    )
    output_file: str | None = field(default=None, metadata={"help": "JSON file for the numbers."})

    def __post_init__(self) -> None:
        if unknown := [name for name in self.measure if name not in MEASUREMENTS]:
            raise InputError(f"unknown measurement {unknown[0]!r}; known: {', '.join(MEASUREMENTS)}")


def main() -> None:
    (args,) = Parser(BenchmarkArguments, __doc__).read()
    results = {}
    for name in args.measure:
        results[name] = list(MEASUREMENTS[name]())
        show(DataFrame(results[name]).to_string(index=False))
    if args.output_file:
        Path(args.output_file).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
