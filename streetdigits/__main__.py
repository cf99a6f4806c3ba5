"""`python -m streetdigits COMMAND`: the console script `streetdigits`."""

import sys

from streetdigits import run

if __name__ == "__main__":
    sys.exit(run())
