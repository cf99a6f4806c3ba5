"""Pages that show a dataset directory example by example, served on this machine or written as a static site."""
