"""The path from a history and live environments to a trained model: the stages of one TOML file, in order.

`path.py` runs them plainly, `refine.py` as a Prefect flow over the same functions, `demo.py` on the bundled history.
Nobody imports this folder; Prefect is imported nowhere else.
"""
