"""Tests on real things: Git repositories built in a temporary folder, Parquet on disk, sandboxes, tiny models."""
