"""Command lines: flags, and defaults that suit the data set or repeat an earlier run."""

import argparse
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from transformers import HfArgumentParser

from ..data import find_source
from ..errors import InputError
from ..files import RECORD_FILE, read_json
from ..runs import read_arguments
from ..tasks import get_task
from .arguments import DataArguments

NOTHING = (None, False, "", [], {})  # what an argument is that does nothing
REPEAT = f"{RECORD_FILE} of a run that is repeated: all its arguments but those that flags give, and output_dir."


class Parser(HfArgumentParser):
    """A parser whose complaints are `InputError`s, and whose defaults follow the chosen data set and task.

    What fills a folder may also take its defaults from the record of an earlier run, `repeats`.
    """

    def __init__(self, argument_classes: type | Sequence[type], description: str | None, **kwargs: Any):
        shown = argparse.RawDescriptionHelpFormatter
        super().__init__(
            argument_classes, description=description, usage="%(prog)s [flags]", formatter_class=shown, **kwargs
        )
        self.repeats: Path | None = None
        if "output_dir" in self.known:
            self.add_argument("--repeat", default=argparse.SUPPRESS, help=REPEAT)

    @property
    def known(self) -> set[str]:
        """What there are flags for."""
        return {action.dest for action in self._actions}

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")

    def parse(self, arguments: Sequence[str] | None = None) -> tuple[Any, ...]:
        """The arguments with defaults that follow a repeated run, or the chosen data set and task."""
        arguments, repeated = self.take_repeat(arguments)
        data = Parser(DataArguments, None, add_help=False)
        data.set_defaults(**{"task": None} | {name: repeated[name] for name in ("task", "data") if name in repeated})
        chosen, _ = data.parse_known_args(arguments)
        source = find_source(chosen.data)
        task = get_task(chosen.task or source.task).name
        defaults = {"task": task, "output_dir": f"runs/{Path(self.prog).stem}-{Path(chosen.data).name}-{task}"}
        settings = defaults | source.settings_for(task, training="inherit" in self.known) | repeated
        return self.read(arguments, settings)

    def read(
        self, arguments: Sequence[str] | None = None, settings: Mapping[str, Any] | None = None
    ) -> tuple[Any, ...]:
        """The arguments with the defaults that they have, or other settings."""
        arguments, repeated = self.take_repeat(arguments)
        self.set_settings({**(settings or {}), **repeated})
        try:
            return self.parse_args_into_dataclasses(arguments)
        except InputError:
            raise
        except ValueError as error:  # of transformers' own argument classes
            raise InputError(f"{error}; see --help") from None

    def set_settings(self, settings: Mapping[str, Any]) -> None:
        """Make these the defaults of the flags that there are."""
        for action in self._actions:  # a flag that is on by default has two: its own, and one that turns it off
            if action.dest in settings:
                action.default, action.required = settings[action.dest], False

    def take_repeat(self, arguments: Sequence[str] | None) -> tuple[list[str], dict[str, Any]]:
        """The words without `--repeat FILE`, and the arguments of the run that it names."""
        if "output_dir" not in self.known:
            return list(sys.argv[1:] if arguments is None else arguments), {}
        parser = Parser((), None, add_help=False)
        parser.add_argument("--repeat", type=Path)
        chosen, words = parser.parse_known_args(arguments)
        if chosen.repeat is None:
            return words, {}
        self.repeats = chosen.repeat
        flags = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in words}
        return words, self.repeated_arguments(chosen.repeat, flags)

    def repeated_arguments(self, path: Path, flags: Collection[str]) -> dict[str, Any]:
        """The arguments of the record in a file, for a run with some flags of its own.

        Raises `InputError` for arguments that this script does not know, and for those whose folder was left out of the
        record and that no flag gives.
        """
        repeated, record = read_arguments(path), read_json(path)
        if unknown := [name for name, value in repeated.items() if name not in self.known and value not in NOTHING]:
            raise InputError(
                f"{path} has arguments that {self.prog} does not know: {', '.join(unknown)}; repeat it with the script "
                f"and the version that wrote it ({record.get('command')}), or take them out of the file"
            )
        if lost := [name for name in record.get("cut", ()) if name in repeated and name not in flags]:
            raise InputError(f"{path} does not tell in which folder they were: give --{', --'.join(lost)}")
        return repeated
