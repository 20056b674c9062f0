"""What flows, and how it rests on disk: records, lake, stages, ledger, rendering, packaging, report, CLI.

Data flows source or scaffold → lake → filters → package; everything in the other folders stands on this one, and this
one imports none of them.
"""
