"""The error that a command line prints as one line, and texts that fit one."""

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


def printable(text: str) -> str:
    """Returns a text with each line break, escape sequence and the like as Python writes it between quotes.

    Names and values in files are anybody's, and must not reach the terminal as they are.
    """
    return text if text.isprintable() else repr(text)[1:-1]
