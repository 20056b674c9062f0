"""The estimators against exact gradients: every trajectory of a small tabular policy is enumerated, nothing sampled."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch

from training.objective import ESTIMATORS, Estimator, policy_loss, reward_to_go_loo

K_EPISODES = 3
DOORS = 2
GROUP = 2

History = tuple[tuple[int, int], ...]


def histories() -> list[History]:
    """All (action, reward) histories before an episode, for a door behind either of two places."""
    steps = [(action, reward) for action in range(DOORS) for reward in (0, 1)]
    return [past for j in range(K_EPISODES) for past in itertools.product(steps, repeat=j)]


PLACE = {past: row for row, past in enumerate(histories())}


def policy() -> torch.Tensor:
    """Log-probabilities [histories, doors] of a policy that uses its history, with gradients to its table."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(len(PLACE), DOORS, generator=generator, dtype=torch.float64).requires_grad_()
    return table


def trajectories(table: torch.Tensor, door: int) -> list[tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]]:
    """(probability, log-probability of each action, rewards) of every trial on one instance."""
    logprobs = table.log_softmax(-1)
    found = []
    for actions in itertools.product(range(DOORS), repeat=K_EPISODES):
        past: History = ()
        chosen = []
        for action in actions:
            chosen.append(logprobs[PLACE[past], action])
            past = (*past, (action, int(action == door)))
        rewards = torch.tensor([float(action == door) for action in actions], dtype=torch.float64)
        found.append((torch.stack(chosen).sum().exp(), chosen, rewards))
    return found


def exact(table: torch.Tensor, value: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """The gradient of E[value(rewards)] by differentiating the probabilities themselves."""
    total = torch.zeros((), dtype=torch.float64)
    for door in range(DOORS):
        for probability, _, rewards in trajectories(table, door):
            total = total + probability * value(rewards) / DOORS
    return torch.autograd.grad(total, table)[0]


def expected(table: torch.Tensor, estimator: Estimator, gamma: float) -> torch.Tensor:
    """E[Σ_j A_j ∇ log π_j], averaged over a group, over every group of two trials on every instance."""
    total = torch.zeros((), dtype=torch.float64)
    mask = torch.ones(GROUP, K_EPISODES, dtype=torch.bool)
    for door in range(DOORS):
        for group in itertools.product(trajectories(table, door), repeat=GROUP):
            rewards = torch.stack([trial[2] for trial in group])
            advantages = estimator(rewards, mask, gamma=gamma)
            chance = torch.stack([trial[0] for trial in group]).prod().detach()
            credit = sum(advantages[i, j] * group[i][1][j] for i in range(GROUP) for j in range(K_EPISODES))
            total = total + chance * credit / GROUP / DOORS
    return torch.autograd.grad(total, table)[0]


def discounted(gamma: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda rewards: (rewards * gamma ** torch.arange(K_EPISODES, dtype=torch.float64)).sum()


@pytest.mark.parametrize(
    ("name", "gamma", "value"),
    [
        ("reward_to_go_loo", 1.0, discounted(1.0)),
        ("reward_to_go_loo_discounted", 0.7, discounted(0.7)),
        ("trial_grpo", 0.7, discounted(0.7)),
        ("differential", 1.0, lambda rewards: rewards[-1]),
    ],
)
def test_the_expected_estimate_is_the_exact_gradient(
    name: str, gamma: float, value: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    table = policy()
    found, wanted = expected(table, ESTIMATORS[name], gamma), exact(table, value)
    assert wanted.abs().max() > 0.01
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)


def test_mean_reward_to_go_reweights_positions_of_the_same_gradient() -> None:
    table = policy()
    found, plain = expected(table, ESTIMATORS["mean_reward_to_go"], 1.0), exact(table, discounted(1.0))
    share = torch.tensor([1.0 / (K_EPISODES - len(past)) for past in PLACE], dtype=torch.float64)
    torch.testing.assert_close(found, plain * share[:, None], atol=1e-12, rtol=0)


def test_single_episode_credit_does_not_pay_for_exploring() -> None:
    table = policy()
    found, whole = expected(table, ESTIMATORS["single_episode"], 1.0), exact(table, discounted(1.0))
    first = PLACE[()]
    # the door is behind either place with equal chance, so no first guess is better by its own reward
    torch.testing.assert_close(found[first], torch.zeros(DOORS, dtype=torch.float64), atol=1e-12, rtol=0)
    assert whole[first].abs().max() > 1e-3


def test_the_formula_worked_out_by_hand() -> None:
    rewards = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    mask = torch.ones(3, 2, dtype=torch.bool)
    # reward-to-go with γ = ½: [.5, 1], [1.5, 1], [0, 0]
    found = reward_to_go_loo(rewards, mask, gamma=0.5)
    torch.testing.assert_close(found, torch.tensor([[-0.25, 0.5], [1.25, 0.5], [-1.0, -1.0]]))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_unplayed_episodes_get_nothing_and_give_nothing(name: str) -> None:
    rewards = torch.tensor([[1.0, 9.0, 9.0], [0.0, 1.0, 9.0], [0.0, 0.0, 1.0]])
    mask = torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
    found = ESTIMATORS[name](rewards, mask, gamma=0.9)
    assert found.shape == rewards.shape
    assert found[~mask].tolist() == [0.0, 0.0, 0.0]
    torch.testing.assert_close(found, ESTIMATORS[name](rewards * mask, mask, gamma=0.9))
    assert found[2, 2] != 0.0


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_group_with_equal_rewards_teaches_nothing(name: str) -> None:
    rewards = torch.tensor([[0.0, 1.0, 1.0]]).repeat(4, 1)
    assert ESTIMATORS[name](rewards, torch.ones(4, 3, dtype=torch.bool), gamma=0.9).abs().max() < 1e-6


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_group_of_one_and_other_shapes_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="at least 2 trials"):
        ESTIMATORS[name](torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="must be"):
        ESTIMATORS[name](torch.zeros(2, 3), torch.ones(2, 2, dtype=torch.bool))


def loss(logprobs: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor, sampled: float = -1.0) -> torch.Tensor:
    old = torch.full_like(logprobs, sampled)
    return policy_loss(logprobs, old, advantages, mask, clip_low=0.2, clip_high=0.3, normalizer=4.0)


def test_on_policy_the_loss_has_the_policy_gradient_over_the_constant() -> None:
    logprobs = torch.full((2, 3), -1.0, requires_grad=True)
    advantages = torch.tensor([[1.0, -2.0, 5.0], [0.5, 0.0, 3.0]])
    mask = torch.tensor([[True, True, False], [True, True, False]])
    (gradient,) = torch.autograd.grad(loss(logprobs, advantages, mask), logprobs)
    torch.testing.assert_close(gradient, -(advantages * mask) / 4.0)


def test_ratios_are_clipped_token_by_token_and_only_where_it_holds_back() -> None:
    logprobs = torch.tensor([[-0.5, -0.5, -1.5, -1.5, -1.0]], requires_grad=True)
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0, 1.0]])
    (gradient,) = torch.autograd.grad(loss(logprobs, advantages, torch.ones(1, 5, dtype=torch.bool)), logprobs)
    assert (gradient != 0).tolist() == [[False, True, True, False, True]]


def test_masked_tokens_have_no_gradient_whatever_they_hold() -> None:
    logprobs = torch.tensor([[-1.0, float("-inf")]], requires_grad=True)
    mask = torch.tensor([[True, False]])
    value = loss(logprobs, torch.tensor([[1.0, float("nan")]]), mask)
    (gradient,) = torch.autograd.grad(value, logprobs)
    assert value.isfinite() and gradient.tolist() == [[-0.25, 0.0]]
