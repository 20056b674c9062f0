"""Precision and recall of the linkers on labelled pairs of sixteen public repositories: `python -m benchmarks.links`.

The labels are the `*.tsv` files here, and `README.md` says how they were made. `labels.py` reads them and finds the
attempts they name, `scoring.py` holds the linkers' links against them. `DATA` is a folder of local clones, called
`owner+name/repo`, `owner+name.git` or `owner+name`; repositories without a clone are left out.
"""
