"""Words to the screen."""

import sys

from transformers import TrainingArguments


def say(args: TrainingArguments, text: str) -> None:
    """Write to the screen, from one process only."""
    if args.process_index == 0:
        show(text)


def show(text: str) -> None:
    """Write a line to the screen."""
    sys.stdout.write(text + "\n")
