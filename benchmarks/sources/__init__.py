"""Each source against the library call that it replaces."""
