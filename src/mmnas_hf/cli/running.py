"""A script from start to end, with one-line errors."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from transformers.utils.logging import disable_progress_bar

from ..errors import InputError, RunError
from ..launches import leave
from ..resources import keep_resources
from ..speedups import without

EXIT_FAILED_RUN, EXIT_WRONG_INPUT = 1, 2
WITHOUT = "MMNAS_WITHOUT"  # environment variable with names of speed-ups that a script does without
REFUSED_WRITES = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EFBIG,
    errno.EIO,
    errno.EACCES,
    errno.EPERM,
)


def run(main: Callable[[], None]) -> None:
    """Call a script's main function; wrong input becomes one line on stderr and exit code 2, a failed run 1."""
    disable_progress_bar()  # of files that are saved and loaded in a moment; training has its own bar
    try:
        with without(*unwanted_speedups()):
            keep_resources()
            main()
            leave()
    except InputError as error:
        fail(str(error), EXIT_WRONG_INPUT)
    except RunError as error:
        fail(str(error), EXIT_FAILED_RUN)
    except OSError as error:
        if error.errno not in REFUSED_WRITES:
            raise
        fail(f"a file cannot be written: {error}; what was complete is kept: make room and go on", EXIT_FAILED_RUN)


def unwanted_speedups() -> list[str]:
    """Names that the environment says, separated by commas."""
    return [name for name in os.environ.get(WITHOUT, "").split(",") if name]


def fail(message: str, code: int) -> NoReturn:
    """End the script with one line on stderr."""
    sys.stderr.write(f"{Path(sys.argv[0]).name}: error: {' '.join(message.split())}\n")
    sys.exit(code)
