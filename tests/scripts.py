"""Runs the scripts, in this process or in one of their own."""

import os
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
# Networks and runs so small that they take a second.
SIZES = "--hidden_size 64 --word_size 8 --pooler_size 16 --relation_size 16"
SPACE = "--encoder_nodes 1 --decoder_nodes 2"
QUIET = "--use_cpu --disable_tqdm true"
FAST = f"--per_device_train_batch_size 8 {QUIET} --logging_strategy no --eval_strategy no"

Argument = str | Path


class Ended(NamedTuple):
    """A script's exit code and what it wrote."""

    code: int
    out: str
    err: str


def words(argument: Argument) -> list[str]:
    """A path is one word, a text as many as it has."""
    return argument.split() if isinstance(argument, str) else [str(argument)]


def run_script(script: str, *arguments: Argument) -> int:
    """Run a script in this process, as `python script arguments` would, and return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(SCRIPTS / script), *(word for text in arguments for word in words(text))])
        try:
            runpy.run_path(str(SCRIPTS / script), run_name="__main__")
        except SystemExit as end:
            return end.code
    return 0


def call(script: str, *arguments: Argument) -> Ended:
    """Run a script in this process and keep what it writes."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = run_script(script, *arguments)
    return Ended(code, out.getvalue(), err.getvalue())


def start(script: str, *arguments: Argument) -> subprocess.CompletedProcess:
    """Run a script in a process of its own."""
    command = [sys.executable, SCRIPTS / script, *(word for text in arguments for word in words(text))]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


def build_flags(publication: str, downloads: Path, regions: Path, folder: Path) -> tuple[Argument, ...]:
    """What `build_dataset.py` cannot do without."""
    sources = ("--downloads", downloads, "--regions", regions)
    return (f"--publication {publication} --num_proc 1", *sources, "--output_dir", folder)


def refusal(code: int, err: str, script: str) -> str:
    """The one line that a script wrote about its input."""
    lines = err.splitlines()
    assert code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{script}: error: ")
    return lines[0]
