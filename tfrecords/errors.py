"""The error that is shown to a user as one line."""

from typing import Any


class UserError(ValueError):
    """What a user gave cannot be used; the message states the rule and ends with what was received."""

    def __init__(self, rule: str, received: Any = None) -> None:
        """Args:
        rule: what should have been given, with the file and the key it concerns.
        received: the offending value, shown last; None when there is none to show.
        """
        super().__init__(rule if received is None else f"{rule} Received: {received}")
