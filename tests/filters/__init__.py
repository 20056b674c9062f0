"""Tests of the filters: each fires on what it is for, and on nothing else."""
