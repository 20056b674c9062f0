"""The runner: plays many trials at once over one engine.

What the policy does, however wrong, is data. What fails around it is an `InfrastructureError`: the trial is played
again from its start, and if that does not help it is counted in the ledger's `errored`, or raised where there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.ledger import Ledger
from pipeline.records import Task
from pipeline.tokens import Tokenizer
from scaffolds.live import Grammar, LiveTrial, RunnerConfig, Turns
from scaffolds.protocols import Completion, Engine, Environment, InfrastructureError, Request
from scaffolds.rollout import Rollout
from scaffolds.strategies import Strategy
from scaffolds.strategies.retry import retry

__all__ = ["RunnerConfig", "run_trials", "run_trials_sync"]


async def run_trials(
    engine: Engine,
    tokenizer: Tokenizer,
    make_environment: Callable[[], Environment],
    tasks: Sequence[Task],
    config: RunnerConfig,
    *,
    strategy: Strategy = retry,
    ledger: Ledger | None = None,
    first_index: int = 0,
) -> list[Rollout]:
    """One rollout per task, in order; the same task may stand in `tasks` any number of times.

    Each trial gets an environment of its own. With a `ledger`, tasks are counted as taken, rollouts as kept, and a
    trial that infrastructure failed for good as errored under the error's type, and missing from the result; without
    one its `InfrastructureError` is raised. `first_index` numbers the first task: a trial's number and `config.seed`
    fix its samples, so a long list may be played piece by piece.
    """
    grammar = Grammar(tokenizer)
    rollouts: dict[int, Rollout] = {}
    waiting = list(range(len(tasks)))
    for attempt in range(config.retries + 1):
        failures: dict[int, InfrastructureError] = {}

        def start(index: int) -> _Play:
            trial = LiveTrial(
                index=first_index + index,
                task=tasks[index],
                environment=make_environment(),
                grammar=grammar,
                config=config,
            )
            return _Play(index=index, trial=trial, turns=strategy(trial))

        drive = _stream if config.stream else _waves
        for first in range(0, len(waiting), config.live_trials):
            await drive(engine, [start(i) for i in waiting[first : first + config.live_trials]], rollouts, failures)
        waiting = sorted(failures)
        if not waiting:
            break
        if attempt == config.retries and ledger is None:
            raise failures[waiting[0]]
    if ledger is not None:
        ledger.take(len(tasks))
        ledger.keep(len(rollouts))
        for index in waiting:
            ledger.error(type(failures[index]).__name__)
    return [rollouts[index] for index in sorted(rollouts)]


def run_trials_sync(
    engine: Engine,
    tokenizer: Tokenizer,
    make_environment: Callable[[], Environment],
    tasks: Sequence[Task],
    config: RunnerConfig,
    *,
    strategy: Strategy = retry,
    ledger: Ledger | None = None,
    first_index: int = 0,
) -> list[Rollout]:
    """`run_trials` for callers that have no event loop."""
    rollouts: list[Rollout] = []

    async def play() -> None:
        # not as the result of the event loop's task: `asyncio.run` formats that, 8 ms for a few hundred rollouts
        rollouts.extend(
            await run_trials(
                engine,
                tokenizer,
                make_environment,
                tasks,
                config,
                strategy=strategy,
                ledger=ledger,
                first_index=first_index,
            )
        )

    asyncio.run(play())
    return rollouts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Play:
    index: int
    trial: LiveTrial
    turns: Turns

    def go(self, completion: Completion | None) -> Request | None:
        """The next request, or None at the end of the trial."""
        try:
            return next(self.turns) if completion is None else self.turns.send(completion)
        except StopIteration:
            return None


async def _waves(
    engine: Engine, plays: Sequence[_Play], rollouts: dict[int, Rollout], failures: dict[int, InfrastructureError]
) -> None:
    """All trials in step: one engine call holds the next request of every trial that goes on."""
    completions: Sequence[Completion | None] = [None] * len(plays)
    while plays:
        going: list[_Play] = []
        requests: list[Request] = []
        for play, completion in zip(plays, completions, strict=True):
            try:
                request = play.go(completion)
            except InfrastructureError as error:
                failures[play.index] = error
                continue
            if request is None:
                rollouts[play.index] = play.trial.rollout()
            else:
                going.append(play)
                requests.append(request)
        plays = going
        if plays:
            try:
                completions = await engine.generate(requests)
            except InfrastructureError as error:
                failures.update((play.index, error) for play in plays)
                return


async def _stream(
    engine: Engine, plays: Sequence[_Play], rollouts: dict[int, Rollout], failures: dict[int, InfrastructureError]
) -> None:
    """Each trial at its own pace; what its environment does runs in a thread."""

    async def one(play: _Play) -> None:
        completion: Completion | None = None
        try:
            while (request := await asyncio.to_thread(play.go, completion)) is not None:
                (completion,) = await engine.generate([request])
        except InfrastructureError as error:
            failures[play.index] = error
        else:
            rollouts[play.index] = play.trial.rollout()

    pending: list[Coroutine[Any, Any, None]] = [one(play) for play in plays]
    async with asyncio.TaskGroup() as group:
        for coroutine in pending:
            group.create_task(coroutine)
