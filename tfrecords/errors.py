"""The error that a command line prints as one line, and texts that fit one."""

import os
from typing import Any


class UserError(ValueError):
    """Input that cannot be used. The message states the rule and ends with the received value."""

    def __init__(self, rule: str, received: Any = None) -> None:
        """Makes the message.

        Args:
          rule: Sentence that says what is allowed, with the file and the key that it concerns.
          received: Offending value, appended as `Received: ...`; None appends nothing.
        """
        super().__init__(rule if received is None else f"{rule} Received: {received}")


def one_line(error: Exception) -> str:
    """Returns the line to print for an error: for one of the operating system, the file and what went wrong with it."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    files = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    # HDF5 adds the state of the file, line by line.
    cause = os.strerror(error.errno) if error.errno and not error.strerror.isprintable() else error.strerror
    return f"{' -> '.join(files) or 'a file cannot be read or written'}: {cause}"


def printable(text: str) -> str:
    """Returns a text with each line break, escape sequence and the like as Python writes it between quotes.

    Names and values in files are anybody's, and must not reach the terminal as they are.
    """
    return text if text.isprintable() else repr(text)[1:-1]
