"""What the Dockerfile says: its stages and instructions, with build arguments filled in; and what a build sends."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from docker.utils.build import exclude_paths

_FLAG = re.compile(r"--([a-z-]+)(?:=(\S+))?\s+")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
      name: Its name in capitals, as COPY.
      flags: Its flags and their values, in their order: ("from", "build").
      value: What follows the flags, on one line.
    """

    name: str
    flags: tuple[tuple[str, str], ...]
    value: str

    @property
    def words(self) -> list[str]:
        """The value, split as a shell does."""
        return shlex.split(self.value)

    def flag(self, name: str) -> str | None:
        """Returns the value of a flag, or None without it."""
        return dict(self.flags).get(name)


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
      name: Its name, by which others copy from it.
      base: Image or stage that it begins with, build arguments filled in.
      instructions: Its instructions, without FROM.
    """

    name: str
    base: str
    instructions: tuple[Instruction, ...]

    def named(self, name: str) -> list[Instruction]:
        """Returns its instructions of a name."""
        return [each for each in self.instructions if each.name == name]


def _logical_lines(text: str) -> Iterator[str]:
    """Yields lines without comments, continued ones joined."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    yield from (line for line in re.sub(r"\s*\\\n\s*", " ", kept).splitlines() if line.strip())


def _instruction(line: str) -> Instruction:
    name, _, rest = line.strip().partition(" ")
    flags = []
    rest = rest.lstrip()
    while match := _FLAG.match(rest):
        flags.append((match[1], match[2] or ""))
        rest = rest[match.end() :]
    return Instruction(name.upper(), tuple(flags), rest)


def _fill(text: str, arguments: Mapping[str, str]) -> str:
    """Returns the text with the build arguments that are known in their places."""
    return _VARIABLE.sub(lambda match: arguments.get(match[1], match[0]), text)


def read_stages(text: str) -> dict[str, Stage]:
    """Returns the stages of a Dockerfile by name.

    Args:
      text: Content of the Dockerfile. Defaults of its build arguments count as given in the whole file.
    """
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    base, name, gathered = "", "", list[Instruction]()
    for line in [*_logical_lines(text), "FROM end AS end"]:
        instruction = _instruction(line)
        if instruction.name == "ARG" and "=" in instruction.value:
            argument, _, default = instruction.value.partition("=")
            arguments[argument] = default
        if instruction.name == "FROM":
            if name:
                stages[name] = Stage(name, base, tuple(gathered))
            base, _, name = instruction.words
            base, gathered = _fill(base, arguments), []
        else:
            value = instruction.value if instruction.name == "RUN" else _fill(instruction.value, arguments)
            gathered.append(Instruction(instruction.name, instruction.flags, value))
    return stages


def chain(stages: Mapping[str, Stage], name: str) -> list[Stage]:
    """Returns a stage and those that it begins with, the first of them first."""
    stage = stages[name]
    return [*(chain(stages, stage.base) if stage.base in stages else []), stage]


def context(root: Path) -> set[str]:
    """Returns the files that `docker build` sends from a folder, relative to it, as .dockerignore has it."""
    lines = (root / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    # docker-py knows no leading slash, which means the same as none, and adds what the engine itself reads.
    found = exclude_paths(str(root), [re.sub(r"^(!?)/", r"\1", pattern) for pattern in patterns])
    return {each for each in found - {"Dockerfile", ".dockerignore"} if (root / each).is_file()}
