"""The logs that `--input` can name: `kafka://BROKERS/TOPIC`, and `lines://` with a file or folder of JSON lines."""

from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.sources import load_source
from beam_jobs.watch.inboxes.kafka import SCHEME as KAFKA
from beam_jobs.watch.inboxes.kafka import KafkaInbox, parse_address, settings_from_environment
from beam_jobs.watch.inboxes.lines import LinesInbox
from beam_jobs.watch.inboxes.log import LogInbox
from beam_jobs.watch.inboxes.spool import SOURCE
from tfrecords.dataset.manifest import FIND
from tfrecords.errors import UserError
from tfrecords.files.place import Place

LINES = "lines://"
"""Beginning of an input that is a file or a folder of growing JSON lines: of a path, or of an address."""


def is_log(text: str) -> bool:
    """Returns whether an input is a log, and no folder where batches arrive."""
    return text.startswith((KAFKA, LINES))


def open_log(text: str, stream: Place, config: PrepareConfig, *, patience_s: float) -> LogInbox:
    """Returns the inbox of an input that is a log; nothing of the log is read.

    Args:
      text: Input: `kafka://host:9092/topic`, `lines://folder`, `lines:///folder/file.jsonl`, `lines://s3://bucket/log`.
      stream: Folder of the stream, which holds the messages that no snapshot has yet.
      config: Configuration of the stream.
      patience_s: Time after which pictures at addresses that cannot be reached are refused, seconds.

    Raises:
      UserError: The input is no address of a log, or the configuration is for a table with other columns, or to find
        numbers.
    """
    if config.task == FIND:
        rule = "--task find needs all numbers of a picture, and a message has one: --input must be a folder of batches."
        raise UserError(rule, text)
    if config.source != SOURCE:
        rule = f"--source must be {SOURCE} where --input is a log: its messages become tables."
        raise UserError(rule, config.source)
    given = [name for name in load_source(SOURCE).options if getattr(config.options, name) is not None]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError("The members of a log's messages have fixed names: flags of columns do not apply.", flags)
    if text.startswith(KAFKA):
        brokers, topic = parse_address(text)
        return KafkaInbox(brokers, topic, stream, settings=settings_from_environment(), patience_s=patience_s)
    return LinesInbox(Place(text.removeprefix(LINES)), stream, patience_s=patience_s)
