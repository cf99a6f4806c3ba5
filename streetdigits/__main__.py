"""`python -m streetdigits COMMAND`: the console script `streetdigits`."""

import sys

from streetdigits import run
from tfrecords.interrupts import keep_exit_code

if __name__ == "__main__":
    sys.exit(keep_exit_code(run))
