"""Runs snippets of the documentation, without TensorFlow: `python -m tests.snippets < SNIPPETS`, as JSON by name."""

import contextlib
import io
import json
import sys
import traceback
from collections.abc import Mapping


def run_snippets(snippets: Mapping[str, str]) -> dict[str, list[str]]:
    """Returns what each snippet prints, and its traceback; they run one after the other in this process."""
    results = {}
    for name, snippet in snippets.items():
        shown, error = io.StringIO(), ""
        try:
            with contextlib.redirect_stdout(shown):
                exec(compile(snippet, name, "exec"), {"__name__": "__main__"})
        except Exception:
            error = traceback.format_exc()
        results[name] = [shown.getvalue(), error]
    return results


if __name__ == "__main__":
    sys.modules["tensorflow"] = None  # type: ignore[assignment]  # any import of it now fails
    json.dump(run_snippets(json.load(sys.stdin)), sys.stdout)
