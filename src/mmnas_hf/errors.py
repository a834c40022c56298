"""The one exception that means: the input is wrong, and here is how to mend it; and others' errors in one line."""


class InputError(ValueError):
    """Wrong input from the user: one line with the bad value, the valid ones and the fix."""


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its kind if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
