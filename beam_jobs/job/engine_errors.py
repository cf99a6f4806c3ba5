"""The cause of an engine's error, in one line: engines report the tracebacks of several languages in one text."""

import re

_OURS = re.compile(r"tfrecords\.errors\.UserError: (.*?)(?: \[while running|\n|\\n|$)")
"""A worker's `UserError`, to whose line Beam appends the step."""
_PYTHON = re.compile(r"^((?:\w+\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Timeout)(?:: .*)?)$", re.MULTILINE)
"""Last line of a traceback of Python."""
_JAVA = re.compile(r"^\s*Caused by: (.*)$", re.MULTILINE)
_STEP = re.compile(r" \[while running .*")
_RPC = re.compile(r"status = (StatusCode\.\w+)\s+details = \"(.*?)\"", re.DOTALL)
_OF_A_WORKER = re.compile(r"worker \S+ ")
_LONGEST = 500
"""Characters of a line; Spark's causes quote a task's complete description."""


def our_error(text: str) -> str | None:
    """Returns the message of a worker's `UserError` in an engine's text, or None."""
    found = _OURS.search(text)
    return found[1] if found else None


def is_hopeless(text: str) -> bool:
    """Returns whether an engine's text is of a worker that lacks what the job needs, however often it is tried."""
    found = our_error(text)
    return found is not None and _OF_A_WORKER.match(found) is not None


def cause(text: str) -> str:
    """Returns the cause of an engine's error, in one line: the innermost one that it names.

    Args:
      text: Message of an error, with tracebacks of Python, of Java or of both.
    """
    if ours := our_error(text):
        return ours
    if remote := _RPC.search(text):
        return _shorten(f"{remote[2]} ({remote[1]})")
    # The last one in the text: Java quotes a traceback of Python after its own error, and causes after effects.
    if found := [*_PYTHON.finditer(text), *_JAVA.finditer(text)]:
        return _shorten(_STEP.sub("", max(found, key=lambda match: match.start())[1]))
    lines = [line for line in text.splitlines() if line.strip()]
    return _shorten(lines[0] if lines else "unknown")


def _shorten(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
