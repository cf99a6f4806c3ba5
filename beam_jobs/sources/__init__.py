"""One reader for each published format; each yields Annotations."""
