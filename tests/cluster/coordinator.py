"""A coordinator that can be killed: admits what is in a folder, and makes and commits generations on a cluster.

python -m tests.cluster.coordinator STREAM INBOX TAKEOVER [BEAM'S OPTIONS]
"""

import sys
import time
from pathlib import Path

from beam_jobs.watch.cluster.make import ClusterJob, making_on_cluster
from beam_jobs.watch.ledger import Ledger
from beam_jobs.watch.stream import Stream
from tests import stream_batches as batches
from tfrecords.files.place import Place
from tfrecords.interrupts import interruptible

_POLL_S = 0.2


def watch(place: Place, inbox: Path, takeover_s: float, options: list[str]) -> None:
    """Watches until it is killed."""
    stream = Stream.load(place)
    with interruptible(), making_on_cluster(ClusterJob(cluster=True, takeover=takeover_s), place, options) as make:
        while True:
            batches.commit_all(stream, make)
            accepted = Ledger(place).accepted
            if new := [path for path in inbox.iterdir() if path.name not in accepted and path.name[0] != "."]:
                batches.accept(stream, *new)
            print(f"takeovers {make.takeovers}", flush=True)
            time.sleep(_POLL_S)


if __name__ == "__main__":
    try:
        watch(Place(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
    except KeyboardInterrupt:
        sys.exit(130)
