"""The commands of docs/cluster.md, by the names in the comments in front of them: the tests run these.

<!-- run: prism -->
```sh
python -m beam_jobs prepare ...
```
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"
_BLOCK = re.compile(r"(?:^<!-- (run|not run): (.+?) -->\n)?^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    """Returns the mark, the name or reason, and the text of each block of commands; both are empty without a mark."""
    return [(match[1] or "", match[2] or "", match[3]) for match in _BLOCK.finditer(PAGE.read_text())]


def commands(name: str, replace: Mapping[str, str]) -> list[list[str]]:
    """Returns the words of each command of a block that a reader runs.

    Args:
      name: Name of the block.
      replace: What a reader fills in, by what the page has in its place; each of it must be in the block.

    Raises:
      AssertionError: The page has no such block, or nothing to replace.
    """
    (text,) = (text for mark, title, text in blocks() if (mark, title) == ("run", name))
    lines = [shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines()]
    for given in replace:
        assert given in text, f"docs/cluster.md has no {given} in the block {name}"
    return [[_filled(word, replace) for word in words] for words in lines if words]


def _filled(word: str, replace: Mapping[str, str]) -> str:
    # The longest first: svhn is the beginning of svhn-records.
    names = sorted(replace, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, names)), lambda match: replace[match[0]], word) if names else word
