"""What training left in the lake, read into types of our own: evaluations by arm and seed, and training curves.

The files are JSON, written beside the models: `evaluation/<name>.json`, `cpt/<name>/metrics.json` and
`metarl/<name>/metrics.json`. A file that cannot be read is a problem said on the page, never a crash of the report.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

from pipeline.lake import Lake, LakeError

T = TypeVar("T")

ARMS = {
    "metarl": "meta-RL",
    "cpt": "CPT",
    "markov": "Markovian policy",
    "single_episode": "single episode",
    "single_episode_cut": "single episode, cut",
}
"""The arms of the experiment with their names for people, in the order in which they are shown; others follow."""

ARM_NOTES = {
    "metarl": "continued pretraining on whole trials, then reinforcement learning over all episodes of a trial",
    "cpt": "continued pretraining on whole trials alone",
    "markov": "the meta-RL policy, shown nothing but the current episode: it cannot learn within a trial",
    "single_episode": "the control: the same data and effort on single episodes; shown the whole trial",
    "single_episode_cut": "the same control, shown the current episode alone, as it was trained",
}
"""What each arm is, in half a sentence."""

_SEPARATORS = re.compile(r"[-./]+")
_SEED = re.compile(r"(?:seed_?|s)?(\d+)\Z")
_DEPTH = 4


class ResultError(ValueError):
    """A result file that the report cannot read; the message names the file, the key and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Typed access to a JSON object; every error names the file and the key."""

    path: str
    values: Mapping[str, Any]

    @classmethod
    def read(cls, lake: Lake, path: str) -> Fields:
        """The object in a file of the lake."""
        values = lake.read_json(path)
        if not isinstance(values, dict):
            raise ResultError(f"{path} holds a {type(values).__name__}, not an object; run its stage again")
        return cls(path=path, values=values)

    def text(self, key: str) -> str:
        """A string."""
        return str(self._get(key, str))

    def whole(self, key: str) -> int:
        """A whole number."""
        return int(self._get(key, int))

    def number(self, key: str) -> float:
        """A finite number."""
        return self._finite(key, self._get(key, int | float))

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of finite numbers."""
        return tuple(self._finite(key, value) for value in self._get(key, list))

    def named_numbers(self, key: str) -> dict[str, float]:
        """An object of finite numbers."""
        return {str(name): self._finite(f"{key}.{name}", value) for name, value in self._get(key, dict).items()}

    def objects(self, key: str) -> list[Fields]:
        """A list of objects."""
        found = []
        for place, value in enumerate(self._get(key, list)):
            if not isinstance(value, dict):
                raise ResultError(f"{self.path}: {key}[{place}] is not an object; run its stage again")
            found.append(Fields(path=f"{self.path}: {key}[{place}]", values=value))
        return found

    def _get(self, key: str, kind: Any) -> Any:
        if key not in self.values:
            raise ResultError(f"{self.path} lacks the key {key!r}; it was written by another version, run it again")
        value = self.values[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ResultError(
                f"{self.path}: {key} is {str(value)[:40]!r} ({type(value).__name__}); run its stage again"
            )
        return value

    def _finite(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ResultError(f"{self.path}: {key} holds {str(value)[:40]!r}, which is no finite number")
        return float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One policy on the held-out instances of one environment; lists have one entry an episode.

    `share` is the discounted return as a share of the Bayes optimum's. `success_within` is the share of trials solved
    by that episode, `resampled_within` the same for fresh contexts of one episode each (i.i.d. pass@k; may be empty).
    """

    arm: str
    seed: int | None
    environment: str
    gamma: float
    trials: int
    reward_by_episode: tuple[float, ...]
    optimum_by_episode: tuple[float, ...]
    share: float
    success_within: tuple[float, ...]
    resampled_within: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """The evaluations of one arm in one environment, by seed."""

    name: str
    runs: tuple[Evaluation, ...]

    @property
    def label(self) -> str:
        """The arm's name for people."""
        return ARMS.get(self.name, self.name.replace("_", " "))

    @property
    def share(self) -> float:
        """Return as a share of the Bayes optimum, median over seeds."""
        return median(run.share for run in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentResult:
    """What all arms earned in one environment."""

    environment: str
    arms: tuple[Arm, ...]

    @property
    def optimum(self) -> tuple[float, ...]:
        """Expected reward by episode of the Bayes-optimal policy."""
        return self.arms[0].runs[0].optimum_by_episode


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A training curve of one run: `points` of (step, value by name).

    `family` is the run's name for people without its seed: runs of one family are drawn together. `environment` is
    what its name says, `k` the number of episodes where the points tell.
    """

    family: str
    environment: str
    k: int
    points: tuple[tuple[int, Mapping[str, float]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All that was found; `problems` says in words what could not be read."""

    environments: tuple[EnvironmentResult, ...]
    cpt: tuple[Curve, ...]
    metarl: tuple[Curve, ...]
    problems: tuple[str, ...]


def read_results(lake: Lake, evaluations: Iterable[str]) -> Results:
    """The evaluations in the files and folders named, and the curves of every CPT and meta-RL run of the lake."""
    problems: list[str] = []
    found = _parsed(lake, _evaluation_files(lake, evaluations, problems), _evaluation, problems)
    return Results(
        environments=_by_environment(found),
        cpt=tuple(_parsed(lake, _metrics(lake, "cpt"), _cpt_curve, problems)),
        metarl=tuple(_parsed(lake, _metrics(lake, "metarl"), _metarl_curve, problems)),
        problems=tuple(problems),
    )


def arm_and_seed(name: str, environment: str = "") -> tuple[str, int | None]:
    """The arm and the seed that a run's name tells: `hidden_door-metarl-2` is `metarl`, 2; order does not matter."""
    parts = [part for part in _SEPARATORS.split(name) if part]
    seeds = [part for part in parts if _SEED.match(part)]
    words = [part for part in parts if part not in seeds and part != environment]
    known = [word for word in words if word in ARMS]
    seed = _SEED.match(seeds[-1]) if seeds else None
    return known[-1] if known else "-".join(words) or name, int(seed[1]) if seed else None


def _parsed(lake: Lake, paths: Iterable[str], parse: Callable[[Fields, str], T], problems: list[str]) -> list[T]:
    parsed = []
    for path in paths:
        try:
            parsed.append(parse(Fields.read(lake, path), path))
        except (ResultError, LakeError) as error:
            problems.append(str(error))
    return parsed


def _evaluation_files(lake: Lake, places: Iterable[str], problems: list[str]) -> Iterator[str]:
    for place in places:
        if place.endswith(".json"):
            yield place
            continue
        files = [f"{place}/{name}" for name in lake.names(place) if name.endswith(".json")]
        if not files:
            problems.append(f"{place} holds no evaluation yet; run `retrial train` and `retrial evaluate` first")
        yield from files


def _metrics(lake: Lake, folder: str, depth: int = _DEPTH) -> Iterator[str]:
    for name in lake.names(folder):
        if lake.exists(f"{folder}/{name}/metrics.json"):
            yield f"{folder}/{name}/metrics.json"
        elif depth and "." not in name:
            yield from _metrics(lake, f"{folder}/{name}", depth - 1)


def _evaluation(fields: Fields, path: str) -> Evaluation:
    environment = fields.text("environment")
    arm, seed = arm_and_seed(fields.text("name"), environment)
    k = fields.whole("k")
    evaluation = Evaluation(
        arm=arm,
        seed=seed,
        environment=environment,
        gamma=fields.number("gamma"),
        trials=fields.whole("trials"),
        reward_by_episode=fields.numbers("reward_by_episode"),
        optimum_by_episode=fields.numbers("optimum_by_episode"),
        share=fields.number("share"),
        success_within=fields.numbers("success_within"),
        resampled_within=fields.numbers("resampled_within"),
    )
    for key in ("reward_by_episode", "optimum_by_episode", "success_within", "resampled_within"):
        length = len(getattr(evaluation, key))
        if length != k and not (key == "resampled_within" and length == 0):
            raise ResultError(f"{path}: {key} has {length} entries for k = {k} episodes; run its stage again")
    return evaluation


def _by_environment(evaluations: Sequence[Evaluation]) -> tuple[EnvironmentResult, ...]:
    """Grouped by environment and number of episodes, arms in the order of `ARMS`, seeds in order."""
    ranks = {name: rank for rank, name in enumerate(ARMS)}
    groups: dict[tuple[str, int], dict[str, list[Evaluation]]] = {}
    for run in evaluations:
        arms = groups.setdefault((run.environment, len(run.reward_by_episode)), {})
        arms.setdefault(run.arm, []).append(run)
    return tuple(
        EnvironmentResult(
            environment=environment,
            arms=tuple(
                Arm(name=name, runs=tuple(sorted(arms[name], key=lambda run: (run.seed is None, run.seed or 0))))
                for name in sorted(arms, key=lambda name: (ranks.get(name, len(ranks)), name))
            ),
        )
        for (environment, _), arms in sorted(groups.items())
    )


def _family(path: str) -> tuple[str, str]:
    """A run's family for people, and the environment its name begins with: `cpt/hidden_door-cpt-0/metrics.json`."""
    words = [word for part in path.split("/")[1:-1] for word in re.split(r"[-.]+", part) if not _SEED.match(word)]
    shown = [ARMS.get(word, word.replace("_", " ")) for word in words]
    return ", ".join(shown) or path, words[0] if words else ""


def _cpt_curve(fields: Fields, path: str) -> Curve:
    family, environment = _family(path)
    points = [(point.whole("step"), point.named_numbers("by_kind")) for point in fields.objects("curve")]
    return Curve(family=family, environment=environment, k=0, points=tuple(points))


def _metarl_curve(fields: Fields, path: str) -> Curve:
    family, environment = _family(path)
    rewards = [(point.whole("update"), point.numbers("reward_by_episode")) for point in fields.objects("curve")]
    points = tuple((update, {"return": sum(earned)}) for update, earned in rewards)
    return Curve(family=family, environment=environment, k=max((len(r) for _, r in rewards), default=0), points=points)
