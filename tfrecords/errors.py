"""The error that a command line prints as one line."""

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
