"""How fast each source reads its annotations, against the library call that it replaces: a module for each source."""
