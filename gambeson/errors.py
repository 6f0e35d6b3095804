"""The two ways in which a command can end badly."""


class UserError(ValueError):
    """A user's mistake: the message names the thing, its value, the allowed range and the remedy (exit status 2)."""


class RunError(RuntimeError):
    """A run that failed although the command was right: a full disk, an unsound certificate (exit status 1)."""
