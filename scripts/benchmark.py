"""Measure speed and memory on made-up data of real size.

python scripts/benchmark.py
python scripts/benchmark.py --measure reading matching --output_file benchmark.json
python scripts/benchmark.py --measure growth --picture_dir pictures
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pandas import DataFrame

from mmnas_hf.benchmarks import CHECKS, MEASUREMENTS, PICTURES
from mmnas_hf.cli import Parser, run, show
from mmnas_hf.errors import InputError


@dataclass
class BenchmarkArguments:
    """What is measured."""

    _argument_group_name: ClassVar[str] = "benchmark"

    measure: list[str] = field(
        default_factory=lambda: [name for name in MEASUREMENTS if name not in CHECKS],
        metadata={"help": f"What to measure: {', '.join(MEASUREMENTS)}; by default all but {', '.join(CHECKS)}."},
    )
    output_file: str | None = field(default=None, metadata={"help": "JSON file for the numbers."})
    picture_dir: str | None = field(
        default=None, metadata={"help": f"Folder for pictures, which there are of: {', '.join(PICTURES)}."}
    )

    def __post_init__(self) -> None:
        if unknown := [name for name in self.measure if name not in MEASUREMENTS]:
            raise InputError(f"unknown measurement {unknown[0]!r}; known: {', '.join(MEASUREMENTS)}")


def main() -> None:
    (args,) = Parser(BenchmarkArguments, __doc__).read()
    results = {}
    for name in args.measure:
        results[name] = list(MEASUREMENTS[name]())
        show(DataFrame(results[name]).to_string(index=False, na_rep=""))
        if args.picture_dir and name in PICTURES:
            PICTURES[name](results[name], Path(args.picture_dir))
    if args.output_file:
        Path(args.output_file).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
