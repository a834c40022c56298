"""The two exceptions that end a script with one line: wrong input, and a run that cannot go on."""


class InputError(ValueError):
    """Wrong input from the user: one line with the bad value, the valid ones and the fix."""


class RunError(RuntimeError):
    """A run that cannot go on: one line with what happened, what is safe, and how to continue."""


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its kind if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
