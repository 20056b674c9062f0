import itertools
import math
import statistics
from collections.abc import Callable

import pytest

from pipeline.tokens import ByteTokenizer
from scaffolds import optimum
from scaffolds.engines.scripted import ScriptedEngine
from scaffolds.environments.dark_bandit import DarkBandit
from scaffolds.environments.hidden_door import HiddenDoor
from scaffolds.environments.number_guess import NumberGuess
from scaffolds.optimum import Branch, by_episode
from scaffolds.protocols import Environment
from scaffolds.runner import RunnerConfig, run_trials_sync

FOUND = 0


def doors_by_planning(doors: int, k: int, gamma: float) -> list[float]:
    def choices(shut: int, turn: int) -> list[list[Branch[int]]]:
        left = doors - shut
        if shut < 0:
            return [[Branch(probability=1.0, reward=1.0, belief=-1)]]
        again = [Branch(probability=1.0, reward=0.0, belief=shut)]
        hit = Branch(probability=1 / left, reward=1.0, belief=-1)
        return [again, [hit, Branch(probability=1 - 1 / left, reward=0.0, belief=shut + 1)]] if left > 1 else [[hit]]

    return by_episode(0, choices, k=k, gamma=gamma)


def numbers_by_planning(numbers: int, guesses: int, k: int, gamma: float) -> list[float]:
    """The belief is (how many numbers are left, found); any split is tried, and the reward falls at the last guess."""

    def choices(belief: tuple[int, bool], turn: int) -> list[list[Branch[tuple[int, bool]]]]:
        left, found = belief
        last = (turn + 1) % guesses == 0
        if found:
            return [[Branch(probability=1.0, reward=float(last), belief=belief)]]
        options = []
        for below in range((left + 1) // 2):
            sides = [(1, True, float(last)), (below, False, 0.0), (left - 1 - below, False, 0.0)]
            options.append([Branch(probability=n / left, reward=r, belief=(n, hit)) for n, hit, r in sides if n])
        return options

    return by_episode((numbers, False), choices, k=k, gamma=gamma, turns=guesses)


def played(make: Callable[[], Environment], k: int, trials: int) -> list[tuple[float, ...]]:
    tokenizer = ByteTokenizer()
    tasks = list(itertools.islice(make().tasks("train", 0), trials))
    engine = ScriptedEngine(tokenizer, informed=1.0)
    return [rollout.rewards for rollout in run_trials_sync(engine, tokenizer, make, tasks, RunnerConfig(k=k))]


def test_the_closed_forms_give_the_known_numbers() -> None:
    assert HiddenDoor(doors=4).optimum(3, 1.0) == pytest.approx([0.25, 0.5, 0.75])
    assert HiddenDoor(doors=3).optimum(5, 1.0) == pytest.approx([1 / 3, 2 / 3, 1, 1, 1])
    assert NumberGuess(numbers=100, guesses=3).optimum(3, 1.0) == pytest.approx([0.07, 0.63, 1.0])
    assert NumberGuess(numbers=31, guesses=2).optimum(3, 1.0) == pytest.approx([3 / 31, 15 / 31, 1.0])
    assert DarkBandit(risky=3).optimum(3, 1.0) == pytest.approx([1 / 3, 2 / 3, 1.0])


@pytest.mark.parametrize("gamma", [0.3, 1.0])
@pytest.mark.parametrize("doors", [2, 4, 6])
def test_no_plan_finds_the_door_sooner_than_the_closed_form(doors: int, gamma: float) -> None:
    assert doors_by_planning(doors, 4, gamma) == pytest.approx(optimum.hidden_door(doors, 4))


@pytest.mark.parametrize(("numbers", "guesses"), [(100, 3), (31, 2), (20, 2), (7, 1)])
def test_no_plan_finds_the_number_sooner_than_the_closed_form(numbers: int, guesses: int) -> None:
    for gamma in (0.2, 1.0):
        assert numbers_by_planning(numbers, guesses, 3, gamma) == pytest.approx(
            optimum.number_guess(numbers, guesses, 3)
        )


def test_the_bandit_is_explored_exactly_above_the_threshold_discount() -> None:
    threshold = (math.sqrt(13) - 1) / 6
    assert DarkBandit().optimum(3, threshold + 1e-6) == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert DarkBandit().optimum(3, threshold - 1e-6)[0] == pytest.approx(0.5)
    explored = sum(threshold**j * r for j, r in enumerate([1 / 3, 2 / 3, 1.0]))
    assert explored == pytest.approx(0.5 * (1 + threshold + threshold**2))


def test_the_bandit_with_one_risky_arm_needs_no_search() -> None:
    assert DarkBandit(risky=1).optimum(2, 0.0) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("make", "k"),
    [
        (lambda: HiddenDoor(doors=4), 3),
        (lambda: HiddenDoor(doors=6), 4),
        (lambda: NumberGuess(numbers=31, guesses=2), 3),
        (lambda: NumberGuess(numbers=100, guesses=3), 3),
        (lambda: DarkBandit(risky=3), 3),
    ],
    ids=["doors 4", "doors 6", "number 31", "number 100", "bandit"],
)
def test_optimal_play_earns_the_optimum_in_the_environment(make: Callable[[], Environment], k: int) -> None:
    trials = 2000
    rewards = played(make, k, trials)
    for j, expected in enumerate(make().optimum(k, 1.0)):
        error = math.sqrt(expected * (1 - expected) / trials)
        assert abs(statistics.mean(r[j] for r in rewards) - expected) <= 3 * error + 1e-9, (j, expected)


def test_a_discount_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="gamma"):
        DarkBandit().optimum(3, 1.5)
