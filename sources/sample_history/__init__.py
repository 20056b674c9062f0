"""A Git repository of our own making, the same on every machine, whose true links are known.

`chapters/*.story` tell the history of `tidemark`, an invented library; `story` reads them, `tree` applies their edits,
`importer` speaks to Git, `build` puts the repository on disk and `truth` says which links hold and which only seem to.
"""

from sources.sample_history.build import build
from sources.sample_history.truth import Decoy, GroundTruth, TrueLink, ground_truth

__all__ = ["Decoy", "GroundTruth", "TrueLink", "build", "ground_truth"]
