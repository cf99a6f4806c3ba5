"""Picture files to pixels, and the geometry of crops."""
