"""Filters: trials → fewer, cleaner trials. One file a filter, named in `frame.FILTERS`; `frame.run` applies them.

A filter keeps, changes or drops each trial and gives a reason code. What is dropped is written too, so that one can
look at it. This folder needs `pipeline` alone.
"""
