"""Beam's runners: their options checked before anything is touched, and their errors in one line."""

import argparse
import contextlib
import io
import logging
import os
import re
from collections.abc import Iterator

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.runner import create_runner

from tfrecords.errors import UserError

# Named in full: what Beam calls DirectRunner first tries another runner, which it would have to download.
_DEFAULT_RUNNER = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"


@contextlib.contextmanager
def one_line_errors(verbose: bool) -> Iterator[None]:
    """Turns what a worker could not do into the one line that it says of it; bugs keep their tracebacks."""
    log = logging.getLogger("apache_beam")
    level = log.level
    if not verbose:
        log.setLevel(logging.CRITICAL)
    try:
        yield
    except Exception as error:
        # Runners add where it happened to a worker's error, or pass on no more than the text of its traceback.
        start = "^" if isinstance(error, UserError) else r"tfrecords\.errors\.UserError: "
        said = re.search(start + r"(.*?)(?: \[while running|\n|$)", str(error))
        if not said:
            raise
        raise UserError(said[1]) from error
    finally:
        log.setLevel(level)


def parse_beam_options(flags: list[str]) -> PipelineOptions:
    """Returns Beam's options, with a runner that needs nothing started or downloaded as the default.

    Raises:
      UserError: Beam does not know an option, which it would pass over in silence, or a value.
    """
    rule = "prepare takes its own options (see --help) and Beam's; it knows no such one."
    try:
        with contextlib.redirect_stderr(io.StringIO()) as usage:
            options = PipelineOptions(flags)
            standard = options.view_as(StandardOptions)
            standard.runner = standard.runner or _DEFAULT_RUNNER
            create_runner(standard.runner)
            unknown = _unknown(options, flags)
    except SystemExit as error:
        raise UserError(f"Beam refuses an option: {usage.getvalue().strip().splitlines()[-1]}.", flags) from error
    except (ValueError, ImportError, AttributeError) as error:
        raise UserError("--runner must be one that Beam has, with its extra.", standard.runner) from error
    # A job server brings options of its own, which only it knows.
    if unknown and not re.search("portable|flink|spark", standard.runner.lower()):
        raise UserError(rule, flags)
    return options


def works_alone(options: PipelineOptions) -> bool:
    """True where one worker in this process is all that works, and this machine has more processors than one."""
    alone = options.view_as(DirectOptions).direct_num_workers == 1
    return options.view_as(StandardOptions).runner == _DEFAULT_RUNNER and alone and (os.cpu_count() or 1) > 1


def _unknown(options: PipelineOptions, flags: list[str]) -> list[str]:
    """Returns those of `flags` that Beam knows nothing of."""
    unknown: list[str] = []

    def collect(parser: argparse.ArgumentParser) -> None:
        unknown.extend(parser.parse_known_args(flags)[1])

    # Retained, as Beam would otherwise log a warning of its own.
    options.get_all_options(add_extra_args_fn=collect, retain_unknown_options=True)
    return unknown
