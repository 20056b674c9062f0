"""Raw history to trials: history → attempts → links → chains → trials.

`git` reads a clone, `history` says which commits make up which attempt, `attempts` writes them down, `links/` joins
them, `chains` lines them up, `trials` turns each chain into rows of the corpus with `edits` that replay bit for bit,
and `mine` runs it all as stages of the lake.
"""
