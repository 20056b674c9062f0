import itertools
import statistics
from collections.abc import Callable

import pytest

from pipeline.records import Task
from scaffolds.environments import ENVIRONMENTS, make_environment
from scaffolds.environments.dark_bandit import DarkBandit
from scaffolds.environments.hidden_door import HiddenDoor
from scaffolds.environments.instances import SPLITS, check_reference
from scaffolds.environments.number_guess import NumberGuess
from scaffolds.protocols import Environment, Reward

MAKERS: dict[str, Callable[[], Environment]] = {
    "doors 6": lambda: HiddenDoor(doors=6),
    "doors 4": lambda: HiddenDoor(doors=4),
    "number 31 in 2": lambda: NumberGuess(numbers=31, guesses=2),
    "number 100 in 3": lambda: NumberGuess(numbers=100, guesses=3),
    "bandit 3": lambda: DarkBandit(risky=3),
}
each = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
NONSENSE = ["", " ", "0x1", "-1", "1.0", "١", "²", "9" * 400, "\x00", "7 or 8", "<|end_episode|>", "one", "\u202e1"]


def tasks(environment: Environment, split: str, count: int, seed: int = 0) -> list[Task]:
    return list(itertools.islice(environment.tasks(split, seed), count))


@each
def test_the_reference_answer_earns_1_and_an_empty_one_0(make: Callable[[], Environment]) -> None:
    for task in tasks(make(), "train", 50):
        make().validate(task)


@each
def test_the_same_split_and_seed_give_the_same_tasks_and_another_seed_others(make: Callable[[], Environment]) -> None:
    assert tasks(make(), "train", 30) == tasks(make(), "train", 30)
    assert not {t.seed for t in tasks(make(), "train", 30)} & {t.seed for t in tasks(make(), "train", 30, seed=1)}


@each
def test_no_seed_stands_in_two_splits(make: Callable[[], Environment]) -> None:
    for place, split in enumerate(SPLITS):
        for seed in range(3):
            found = [task.seed for task in tasks(make(), split, 200, seed)]
            assert len(set(found)) == 200
            assert all(hidden is not None and 0 <= hidden < 2**62 and hidden % 4 == place for hidden in found)


@each
def test_nonsense_is_answered_and_earns_nothing(make: Callable[[], Environment]) -> None:
    environment = make()
    (task,) = tasks(environment, "test", 1)
    for action in NONSENSE:
        environment.reset(task)
        assert environment.step(action).text.startswith("no such")
        assert environment.verify().value == 0.0


@each
def test_a_task_of_another_size_is_refused(make: Callable[[], Environment]) -> None:
    (task,) = tasks(make(), "train", 1)
    for other in (HiddenDoor(doors=5), NumberGuess(numbers=9), DarkBandit(risky=2)):
        with pytest.raises(ValueError, match="drawn with"):
            other.reset(task)


def test_the_door_stays_where_it_is_from_episode_to_episode() -> None:
    environment = HiddenDoor(doors=6)
    for task in tasks(environment, "train", 20):
        opened = []
        for guess in "123456123456":
            environment.reset(task)
            if environment.step(guess).text == "open":
                opened.append(guess)
                assert environment.verify().value == 1.0
        assert len(opened) == 2 and opened[0] == opened[1]


def test_every_door_is_equally_likely() -> None:
    environment = HiddenDoor(doors=6)
    found = 0
    for task in tasks(environment, "train", 6000):
        environment.reset(task)
        found += environment.step("4").text == "open"
    assert abs(found / 6000 - 1 / 6) < 3 * (5 / 36 / 6000) ** 0.5


def test_a_guess_is_answered_by_the_side_the_number_lies_on() -> None:
    environment = NumberGuess(numbers=31, guesses=99)
    (task,) = tasks(environment, "train", 1)
    environment.reset(task)
    said = [environment.step(str(guess)).text for guess in range(1, 32)]
    number = said.index("right")
    assert said == ["higher"] * number + ["right"] + ["lower"] * (30 - number)


def test_a_right_guess_does_not_end_the_episode_and_the_last_guess_does() -> None:
    environment = NumberGuess(numbers=2, guesses=2)
    for task in tasks(environment, "train", 10):
        environment.reset(task)
        assert not environment.step("1").done
        assert environment.step("2").done
        assert environment.verify().value == 1.0
        assert environment.step("1").text == "no guesses left"


def test_a_guess_after_the_last_one_earns_nothing() -> None:
    environment = NumberGuess(numbers=31, guesses=1)
    (task,) = tasks(environment, "train", 1)
    environment.reset(task)
    environment.step("none")
    for guess in range(1, 32):
        environment.step(str(guess))
    assert environment.verify().value == 0.0


def test_the_safe_arm_pays_half_of_the_time_in_every_episode_and_the_same_when_played_again() -> None:
    def coins(task: Task) -> list[float]:
        environment, paid = DarkBandit(), []
        for _ in range(3):
            environment.reset(task)
            environment.step("0")
            paid.append(environment.verify().value)
        return paid

    drawn = tasks(DarkBandit(), "train", 2000)
    played = [coins(task) for task in drawn]
    assert played[:50] == [coins(task) for task in drawn[:50]]
    for j in range(3):
        assert abs(statistics.mean(paid[j] for paid in played) - 0.5) < 3 * (0.25 / 2000) ** 0.5
    assert len({tuple(paid) for paid in played}) == 8
    one = DarkBandit()
    one.reset(drawn[0])
    for j in range(3):
        one.reset(drawn[1])
        one.step("0")
        assert one.verify().value == played[1][j]


def test_exactly_one_risky_arm_pays_and_always_the_same() -> None:
    environment = DarkBandit(risky=3)
    for task in tasks(environment, "train", 20):
        paid = []
        for arm in "123123":
            environment.reset(task)
            paid.append(environment.step(arm).text == "paid")
        assert paid[:3] == paid[3:] and sum(paid[:3]) == 1


def test_an_environment_that_rewards_everything_or_nothing_does_not_validate() -> None:
    class Generous(HiddenDoor):
        def verify(self) -> Reward:
            return Reward(value=1.0)

    class Mean(HiddenDoor):
        def verify(self) -> Reward:
            return Reward(value=0.0)

    for family, earned in ((Generous, "earn 1"), (Mean, "earn 0")):
        environment = family()
        (task,) = tasks(environment, "train", 1)
        with pytest.raises(ValueError, match=earned):
            environment.validate(task)
    with pytest.raises(ValueError, match="earn 0"):
        check_reference(HiddenDoor(doors=6), tasks(HiddenDoor(doors=6), "train", 1)[0], ["no door"])


def test_registered_environments_are_made_by_name_and_errors_name_what_is_valid() -> None:
    for name in ("hidden_door", "number_guess", "dark_bandit"):
        assert make_environment(name).name == name
        assert name in ENVIRONMENTS
    assert make_environment("hidden_door", {"doors": 9}).tasks("train", 0).__next__().prompt == "doors 1-9"
    with pytest.raises(ValueError, match="hidden_door"):
        make_environment("hidden_window")
    with pytest.raises(ValueError, match="windows"):
        make_environment("hidden_door", {"windows": 2})
    with pytest.raises(ValueError, match="at least 2"):
        make_environment("hidden_door", {"doors": 1})
    with pytest.raises(ValueError, match="validation"):
        next(HiddenDoor().tasks("dev", 0))
