"""SIGINT and SIGTERM: one line and an exit code, at any moment of any command."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.forked import Forked
from tfrecords.interrupts import SIGNALS, Interrupted, describe, ending_at_once, interruptible

ROOT = Path(__file__).parents[1]
LINES = {signal.SIGINT: "stopped: interrupted", signal.SIGTERM: "stopped: terminated"}
HEAD = """
import os, signal, sys
from types import SimpleNamespace
signal.signal(signal.SIGINT, signal.default_int_handler)
number = signal.Signals(int(sys.argv[1]))
"""


def run(code: str, number: int) -> tuple[int, str, str]:
    """Returns the exit code and the output of a program that sends itself signals of this number."""
    command = [sys.executable, "-c", HEAD + code, str(int(number))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def taken() -> None:
    """A shell starts background processes with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_raised_and_the_handlers_are_put_back(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(Interrupted) as caught, interruptible():
        signal.raise_signal(number)
    assert [signal.getsignal(each) for each in SIGNALS] == before
    assert describe(caught.value) == (LINES[number], 128 + number)
    caught.value.args = ("the same command resumes",)
    assert describe(caught.value) == (f"{LINES[number]}; the same command resumes", 128 + number)


def test_an_interrupt_by_python_itself_is_described_too() -> None:
    assert describe(KeyboardInterrupt()) == ("stopped: interrupted", 130)


@pytest.mark.parametrize("block", [interruptible, ending_at_once])
def test_a_signal_that_is_ignored_stays_so(block: Callable[[], AbstractContextManager[None]]) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with block():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("taken")
def test_other_threads_leave_the_handlers_alone() -> None:
    before, found = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with interruptible(), ending_at_once():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


SLOW_TO_STOP = """
from tfrecords.interrupts import interruptible
try:
    with interruptible():
        try:
            os.kill(os.getpid(), number)
        finally:
            print("cleaning up")
            os.kill(os.getpid(), number)
            print("not reached")
except BaseException as error:
    print("not reached", error)
"""
AT_ONCE = """
import subprocess, time
from tfrecords.interrupts import ending_at_once
try:
    with ending_at_once("the same command resumes"):
        child = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
        print(child.pid, child.stdout.readline().strip())
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # as TensorFlow's start does
        os.kill(os.getpid(), number)
        print("not reached")
finally:
    print("not reached")
"""
COMMAND = """
from tfrecords import cli
module = SimpleNamespace(add_arguments=lambda parser: None)
class Modules(dict):
    def __missing__(self, name):
        {loading}
        return module
def run(args):
    {running}
module.run = run
cli.importlib = SimpleNamespace(import_module=lambda name: Modules()[name])
sys.exit(cli.main("tests", "", [cli.Command("work", "", "tests.work")], ["work"]))
"""
SEND = "os.kill(os.getpid(), number); print('not reached')"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_a_program_that_is_cleaning_up(number: signal.Signals) -> None:
    assert run(SLOW_TO_STOP, number) == (128 + number, "cleaning up\n", f"{LINES[number]}\n")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists the children of a process")
def test_a_program_that_ends_at_once_takes_its_children_along() -> None:
    code, output, errors = run(AT_ONCE, signal.SIGTERM)
    assert (code, errors) == (143, "stopped: terminated; the same command resumes\n")
    deadline = time.monotonic() + 10
    children = [Path("/proc", process, "cmdline") for process in output.split()]
    assert len(children) == 2
    # A zombie that nobody waits for has an empty command line.
    while any(path.exists() and path.read_bytes() for path in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("moment", ["loading", "running"])
def test_a_command_ends_with_one_line_while_it_is_imported_and_while_it_runs(
    number: signal.Signals, moment: str
) -> None:
    code = COMMAND.format(**{"loading": "pass", "running": "pass", moment: SEND})
    assert run(code, number) == (128 + number, "", f"{LINES[number]}\n")


@pytest.mark.parametrize("package", ["beam_jobs", "streetdigits", "tfrecords", "trainer"])
def test_the_frame_of_a_command_line_answers_signals_before_any_large_library_is_imported(package: str) -> None:
    code = f"""
import runpy
from tfrecords import cli
def parse(*arguments):
    assert not {{"numpy", "google.protobuf", "PIL", "pyarrow"}} & set(sys.modules)
    os.kill(os.getpid(), number)
cli._parse = parse
runpy.run_module({package!r}, run_name="__main__")
"""
    assert run(code, signal.SIGTERM) == (143, "", "stopped: terminated\n")


DONE = """
import atexit, threading
from tfrecords.interrupts import keep_exit_code
class Late:
    def __del__(self):
        kill(process, number)  # while Python deletes the modules
late, kill, process = Late(), os.kill, os.getpid()
if {thread}:
    threading.Thread(target=lambda: (threading.main_thread().join(), os.kill(process, number))).start()
sys.exit(keep_exit_code(lambda: 3))
"""


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("thread", [False, True])
def test_a_signal_after_the_work_does_not_change_the_exit_code(number: signal.Signals, thread: bool) -> None:
    assert run(DONE.format(thread=thread), number) == (3, "", "")


def test_a_closed_standard_error_is_no_error() -> None:
    code = COMMAND.format(loading="pass", running="print('done')").replace("sys.exit", "os.close(2); sys.exit")
    assert run(code, signal.SIGINT)[1] == "done\n"
    assert os.isatty(-1) is False


def _signal_at_import_of_tensorflow(number: int) -> int:
    from trainer.distribute.startup import start_tensorflow

    class Finder:
        """Sends the process a signal where TensorFlow would be looked for."""

        def find_spec(self, name: str, *_: object) -> None:
            if name == "tensorflow":
                os.kill(os.getpid(), number)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    del sys.modules["tensorflow"]
    sys.meta_path.insert(0, Finder())
    with ending_at_once():
        start_tensorflow()
    return 0


@pytest.mark.parametrize("number", SIGNALS)
def test_the_line_is_printed_while_tensorflow_starts_and_standard_error_is_redirected(number: signal.Signals) -> None:
    assert Forked(_signal_at_import_of_tensorflow, number).wait() == (128 + number, "", f"{LINES[number]}\n")
