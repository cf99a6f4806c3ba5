"""The page on clusters says what is tested: its commands are those of the tests on engines, its versions theirs."""

import re
from pathlib import Path

import pytest

from tests.cluster import page
from tests.cluster.versions import BEAM, BEAM_JAVA, FAKE_GCS, FLINK, FLINK_RUNNER, SPARK, SPARK_RUNNER

FOLDER = Path(__file__).parent / "cluster"
ROOT = FOLDER.parents[1]
OF_THE_TESTS = "make test-cluster"
"""Begin of the only block that a test cannot run: it runs the tests."""


def test_every_block_of_commands_says_whether_it_is_run() -> None:
    for mark, title, text in page.blocks():
        assert mark or text.startswith(OF_THE_TESTS), text
        assert mark != "not run" or len(title) > 10, text


def test_the_tests_run_every_block_that_is_marked_so() -> None:
    named = {title for mark, title, _ in page.blocks() if mark == "run"}
    sources = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    used = set(re.findall(r'commands\(\s*"([\w-]+)"', sources))
    used |= {f"{engine}-jar" for engine in ("flink", "spark")}  # named by the engine, in downloads.py
    assert used == named


def test_the_page_names_the_versions_that_are_run() -> None:
    text = page.PAGE.read_text()
    for version in (BEAM, BEAM_JAVA, FLINK, SPARK, FLINK_RUNNER, SPARK_RUNNER, FAKE_GCS):
        assert version in text, version
    assert set(re.findall(r"-Dbeam=(\S+)", text)) == {BEAM_JAVA}
    assert set(re.findall(r"prism@v(\S+)", text)) == {BEAM}


def test_a_command_is_filled_in_by_the_longest_name_and_only_where_it_is() -> None:
    (words,) = page.commands("prism", {"svhn-records": "made", "~/go/bin/prism": "/bin/prism"})
    assert words[:8] == ["python", "-m", "beam_jobs", "prepare", "--source", "svhn", "--input", "svhn"]
    assert words[8:] == ["--output", "made", "--runner", "PrismRunner", "--prism_location", "/bin/prism"]
    with pytest.raises(AssertionError, match="has no /nowhere in the block prism"):
        page.commands("prism", {"/nowhere": ""})


def test_plain_tests_and_the_quick_ones_leave_engines_out() -> None:
    assert "-m 'not cluster'" in (ROOT / "pyproject.toml").read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert '-m "not slow and not cluster"' in makefile
    for path in FOLDER.glob("test_*.py"):
        assert "pytest.mark.cluster" in path.read_text(), path
