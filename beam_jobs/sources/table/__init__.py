"""Tables of pictures and numbers as a `Source`: CSV, TSV, JSON lines, Parquet, and Hugging Face's metadata files.

`files` finds the tables of an input, `delimited`, `json_lines` and `parquet` read one, `columns` finds its columns,
`numbers` makes numbers of its rows, and `source` is the reader.
"""
