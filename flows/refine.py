"""The path of one TOML file as a Prefect flow: a task a stage, over the same plain functions as `retrial run`.

State lives in the lake, not in Prefect: a flow that was killed anywhere and is started again continues at the first
shard that is not committed. Deployed with a daily schedule by `prefect deploy --all` (see `prefect.yaml`).
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact

from flows.path import RunPath, Step, read_path, run_step
from pipeline.lake import Lake
from pipeline.ledger import Ledger

RETRIES = 2
RETRY_DELAY_SECONDS = 30


@task(task_run_name="{step.name}", retries=RETRIES, retry_delay_seconds=RETRY_DELAY_SECONDS)
def stage_task(lake: str, step: Step, workers: int) -> object:
    """One stage. What has been committed before a failure is kept, so a retry runs only what is missing."""
    outcome = run_step(Lake(lake), step, workers)
    get_run_logger().info("%s: %s", step.name, outcome)
    return outcome


def _funnel(outcomes: list[tuple[Step, object]]) -> str:
    rows = ["| stage | unit | in | out | dropped | errored |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for step, outcome in outcomes:
        if isinstance(outcome, Ledger):
            rows.append(
                f"| {step.name} | {outcome.unit} | {outcome.rows_in} | {outcome.rows_out} "
                f"| {outcome.dropped.total()} | {outcome.errored.total()} |"
            )
    return "\n".join(rows)


@flow(name="refine", flow_run_name="refine-{config}")
def refine(config: str) -> None:
    """Mine, verify, synthesise, filter and package as the TOML file `config` says; then train where it says so."""
    path: RunPath = read_path(Path(config))
    outcomes: list[tuple[Step, object]] = []
    for step in path.steps:
        outcomes.append((step, stage_task(path.settings.lake, step, path.settings.workers)))
    create_markdown_artifact(_funnel(outcomes), key="funnel", description="Rows in and out of every stage")
