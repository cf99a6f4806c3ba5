"""Tables of pictures and numbers as a `Source`: CSV, TSV, JSON lines, Parquet, and Hugging Face's metadata files.

`files` finds the tables of an input, `delimited`, `json_lines` and `parquet` read one, `columns` finds its columns,
`numbers` and `boxes` make numbers of its rows, `load` keeps them, and `source` is the reader.
"""
