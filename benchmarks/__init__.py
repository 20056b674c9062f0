"""Every speed claim, re-runnable: one module a claim, each printing one JSON object last; kept in `results/`."""
