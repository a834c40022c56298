"""The one exception that means: the input is wrong, and here is how to mend it."""


class InputError(ValueError):
    """Wrong input from the user: one line with the bad value, the valid ones and the fix."""
