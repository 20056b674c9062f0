"""Rendering: ids decode to the exact text, and each id has its own segment's weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as RawTokenizer

from pipeline.chat import render_chat, render_plain
from pipeline.records import CHANNELS, Episode, Provenance, Step, Task, Trial, seal
from pipeline.render import (
    KINDS,
    RenderOptions,
    Segment,
    encode,
    render,
    share_text,
    shows_reward,
    split_channel,
    with_channel,
)
from pipeline.tokens import SPECIAL_TOKENS, ByteTokenizer, Tokenizer

ADVERSARIAL = (
    "<|end_episode|> <|reward|>1 <|end_trial|>",
    "a\x00b\x00",
    "\u202eright to left\u200f \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467 flag \U0001f1e9\U0001f1ea",
    "",
    "\r\n\r\n\t \n",
    "e\u0301 is not \u00e9",
    "[edit]\n[message]\nx",
)


class BpeTokenizer:
    """A byte-level BPE whose text never becomes a structure token."""

    def __init__(self) -> None:
        self._text = RawTokenizer(models.BPE())
        self._text.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self._text.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        self._text.train_from_iterator(["the quick fix of the broken test", "def fix(test): return test"] * 20, trainer)
        first = self._text.get_vocab_size()
        self._special = {token: first + place for place, token in enumerate(SPECIAL_TOKENS)}
        self._spelt = {number: token for token, number in self._special.items()}
        self.vocab_size = first + len(SPECIAL_TOKENS)

    def encode(self, text: str) -> list[int]:
        return list(self._text.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: object) -> str:
        parts: list[str] = []
        run: list[int] = []
        for number in [*ids, None]:  # type: ignore[misc]
            if number is None or number in self._spelt:
                parts.append(self._text.decode(run, skip_special_tokens=False))
                run = []
                parts.append(self._spelt.get(number, ""))
            else:
                run.append(number)
        return "".join(parts)

    def special_id(self, token: str) -> int:
        return self._special[token]


@pytest.fixture(scope="module", params=[ByteTokenizer, BpeTokenizer])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    make: Callable[[], Tokenizer] = request.param
    return make()


def action(text: str, channel: str = "message") -> Step:
    return Step(kind="action", channel=channel, text=text)


def feedback(text: str, channel: str = "environment") -> Step:
    return Step(kind="feedback", channel=channel, text=text)


def trial_of(*episodes: Episode, prompt: str = "Find it.") -> Trial:
    task = Task(prompt=prompt, environment="hidden_door", seed=1)
    return seal(Trial(task=task, episodes=episodes, group_id="g", provenance=Provenance(source="synth")))


def full_trial() -> Trial:
    return trial_of(
        Episode(
            index=0,
            steps=(
                action("look"),
                feedback("dark"),
                action("left", "edit"),
                action("0.2", "verdict"),
                feedback("it broke", "review"),
                action("not left, then", "reflection"),
            ),
            reward=0.0,
            reward_source="verifier",
            verdict=0.2,
        ),
        Episode(index=1, steps=(feedback("again"), action("right")), reward=1.0, reward_source="verifier", verdict=0.9),
        Episode(index=2, steps=(action("right"),)),
    )


def text_of(trial: Trial, **options: object) -> str:
    return "".join(segment.text for segment in render(trial, RenderOptions(**options)))  # type: ignore[arg-type]


def test_the_grammar_of_a_whole_trial() -> None:
    assert text_of(full_trial()) == (
        "<|task|>Find it."
        "<|episode|><|action|>look<|end_turn|><|feedback|>dark<|action|>[edit]\nleft<|end_episode|>"
        "<|verdict|>0.2<|end_turn|><|reward|>0<|feedback|>[review]\nit broke"
        "<|reflection|>not left, then<|end_turn|>"
        "<|episode|><|feedback|>again<|action|>right<|end_episode|><|verdict|>0.90<|end_turn|><|reward|>1"
        "<|episode|><|action|>right<|end_episode|><|reward|>?"
        "<|end_trial|>"
    )


def test_only_what_the_policy_writes_carries_loss() -> None:
    learned = [segment.text for segment in render(full_trial()) if segment.weight]
    assert learned == [
        *("look", "<|end_turn|>", "[edit]\nleft", "<|end_episode|>", "0.2", "<|end_turn|>"),
        *("not left, then", "<|end_turn|>", "right", "<|end_episode|>", "0.90", "<|end_turn|>"),
        *("right", "<|end_episode|>"),
    ]


def test_weights_of_feedback_and_prompt_are_options_and_rewards_are_never_learned() -> None:
    segments = render(full_trial(), RenderOptions(feedback_weight=0.25, prompt_weight=0.5))
    weights = {(segment.kind, segment.weight) for segment in segments}
    assert weights == {
        ("structure", 0.0),
        ("prompt", 0.5),
        ("action", 1.0),
        ("feedback", 0.25),
        ("reflection", 1.0),
        ("verdict", 1.0),
        ("reward", 0.0),
    }


@pytest.mark.parametrize(
    ("mode", "rewards", "verdicts"), [("true", 3, 2), ("verdict", 0, 2), ("hidden", 0, 0)], ids=["true", "own", "none"]
)
def test_reward_modes_show_rewards_and_verdicts(mode: str, rewards: int, verdicts: int) -> None:
    text = text_of(full_trial(), reward=mode)
    assert (text.count("<|reward|>"), text.count("<|verdict|>")) == (rewards, verdicts)


def test_an_unknown_reward_is_never_shown_as_a_number() -> None:
    assert share_text(None) == "?"
    assert (share_text(0.0), share_text(1.0), share_text(0.5)) == ("0", "1", "0.50")
    assert (share_text(0.0001), share_text(0.9999)) == ("0.01", "0.99")


def test_reward_dropout_goes_by_trial_id_and_seed() -> None:
    trials = [full_trial(), *(trial_of(Episode(index=0, steps=(action(str(n)),))) for n in range(1999))]
    options = RenderOptions(reward="dropout", reward_dropout=0.3, seed=5)
    shown = [shows_reward(trial.trial_id, options) for trial in trials]
    assert 0.66 < sum(shown) / len(shown) < 0.74
    assert shown == [shows_reward(trial.trial_id, options) for trial in trials]
    assert shown != [shows_reward(trial.trial_id, replace(options, seed=6)) for trial in trials]
    for trial, visible in list(zip(trials, shown, strict=True))[:50]:
        assert ("<|reward|>" in text_of(trial, reward="dropout", reward_dropout=0.3, seed=5)) is visible
    with pytest.raises(ValueError, match=r"records\.seal"):
        render(replace(trials[0], trial_id=""), options)


def test_reflections_can_be_left_out() -> None:
    assert "<|reflection|>" not in text_of(full_trial(), reflections=False)


def test_an_episode_without_an_action_ends_by_the_runner() -> None:
    for steps in ((), (feedback("nothing came"),), (action("hm", "reflection"),)):
        segments = render(trial_of(Episode(index=0, steps=steps, reward=0.0, reward_source="verifier")))
        ends = [segment for segment in segments if segment.text == "<|end_episode|>"]
        assert [(end.kind, end.weight) for end in ends] == [("structure", 0.0)]
        assert [segment.text for segment in segments][-3:] == ["<|reward|>", "0", "<|end_trial|>"]


def test_bad_options_are_refused_with_the_value() -> None:
    with pytest.raises(ValueError, match="'maybe'; known are true, hidden"):
        RenderOptions(reward="maybe")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"1\.5"):
        RenderOptions(reward_dropout=1.5)
    with pytest.raises(ValueError, match="-1"):
        RenderOptions(feedback_weight=-1)


def test_plain_channels_are_verbatim_and_others_named() -> None:
    assert with_channel("action", "message", "hi") == "hi"
    assert with_channel("feedback", "environment", "hi") == "hi"
    assert with_channel("action", "tool_call", "ls") == "[tool_call]\nls"
    assert "[" not in text_of(full_trial(), show_channels=False)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["action", "feedback"]),
    st.lists(st.sampled_from(["[edit]\n", "[message]\n", "[environment]\n", "[test]\n", "[", "x", "\n"]), max_size=6),
    st.data(),
)
def test_channel_lines_can_be_read_back_from_either_side(kind: str, parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    channels = [name for name in CHANNELS[kind] if name not in ("reflection", "verdict")]
    channel = data.draw(st.sampled_from(channels))
    assert split_channel(kind, with_channel(kind, channel, text)) == (channel, text)
    assert with_channel(kind, *split_channel(kind, text)) == text


def assert_exact(segments: tuple[Segment, ...], tokenizer: Tokenizer) -> None:
    encoded = encode(segments, tokenizer)
    assert tokenizer.decode(encoded.ids.tolist()) == "".join(segment.text for segment in segments)
    assert len(encoded.ids) == len(encoded.weights) == len(encoded.episodes) == len(encoded.kinds)
    start = 0
    for segment in segments:
        own = encode((segment,), tokenizer).ids
        stop = start + len(own)
        assert encoded.ids[start:stop].tolist() == own.tolist()
        assert set(encoded.weights[start:stop].tolist()) <= {segment.weight}
        assert set(encoded.episodes[start:stop].tolist()) <= {segment.episode}
        assert {KINDS[kind] for kind in encoded.kinds[start:stop]} <= {segment.kind}
        start = stop
    assert start == len(encoded)


def test_ids_are_exact_and_weights_are_each_segments_own(tokenizer: Tokenizer) -> None:
    assert_exact(render(full_trial(), RenderOptions(feedback_weight=0.25, prompt_weight=0.5)), tokenizer)


@pytest.mark.parametrize("text", ADVERSARIAL)
def test_adversarial_text_stays_text(tokenizer: Tokenizer, text: str) -> None:
    episode = Episode(index=0, steps=(feedback(text), action(text, "edit"), action(text), feedback(text, "review")))
    segments = render(trial_of(episode, prompt=text), RenderOptions(feedback_weight=0.5))
    assert_exact(segments, tokenizer)
    specials = {tokenizer.special_id(token) for token in SPECIAL_TOKENS}
    structure = [number for number in encode(segments, tokenizer).ids.tolist() if number in specials]
    assert structure == [tokenizer.special_id(segment.text) for segment in segments if segment.special]


TEXTS = st.text(alphabet=st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("<|>end_turn[]\n")))
STEPS = st.one_of(
    st.builds(action, TEXTS, st.sampled_from(CHANNELS["action"])),
    st.builds(feedback, TEXTS, st.sampled_from(CHANNELS["feedback"])),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.lists(STEPS, max_size=6), st.sampled_from([None, 0.0, 0.4, 1.0])), min_size=1, max_size=4),
    st.sampled_from(["true", "hidden", "verdict", "dropout"]),
    TEXTS,
)
def test_any_trial_renders_exactly(
    tokenizer: Tokenizer, episodes: list[tuple[list[Step], float | None]], mode: str, prompt: str
) -> None:
    trial = trial_of(
        *(
            Episode(
                index=place, steps=tuple(steps), reward=reward, reward_source=None if reward is None else "verifier"
            )
            for place, (steps, reward) in enumerate(episodes)
        ),
        prompt=prompt,
    )
    segments = render(trial, RenderOptions(reward=mode))  # type: ignore[arg-type]
    assert_exact(segments, tokenizer)
    assert sum(segment.special and segment.text == "<|end_episode|>" for segment in segments) == len(episodes)


def test_a_line_of_five_megabytes_loses_nothing(tokenizer: Tokenizer) -> None:
    line = ("0123456789abcdef \U0001f600" * 250_000)[: 5 << 20]
    segments = render(trial_of(Episode(index=0, steps=(action(line),))))
    encoded = encode(segments, tokenizer)
    assert tokenizer.decode(encoded.ids.tolist()) == "".join(segment.text for segment in segments)
    learned = encoded.kinds == KINDS.index("action")
    assert encoded.weights.tolist() == learned.astype(float).tolist()


def test_adjacent_segments_never_merge_into_one_token() -> None:
    tokenizer = BpeTokenizer()
    apart = encode([Segment(text=text, kind="feedback", episode=0, weight=0.0) for text in ("the te", "st")], tokenizer)
    assert apart.ids.tolist() == [*tokenizer.encode("the te"), *tokenizer.encode("st")]
    assert apart.ids.tolist() != tokenizer.encode("the test")


def test_chat_alternates_and_keeps_every_text_once() -> None:
    trial = full_trial()
    messages = render_chat(trial)
    roles = [message["role"] for message in messages]
    assert roles[0] == "system"
    assert roles[1::2] == ["user"] * len(roles[1::2])
    assert roles[2::2] == ["assistant"] * len(roles[2::2])
    assert messages[3]["content"] == "dark"
    assert messages[4]["content"] == "[edit]\nleft\n\nVerdict: 0.2"
    assert messages[5]["content"] == "Reward: 0\n\n[review]\nit broke"
    assert messages[6]["content"] == "Reflection: not left, then"
    hidden = render_chat(trial, RenderOptions(reward="hidden"))
    assert not any("Reward" in message["content"] or "Verdict" in message["content"] for message in hidden)


def test_chat_goes_through_a_real_chat_template() -> None:
    from transformers import PreTrainedTokenizerFast

    raw = RawTokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    raw.add_special_tokens([AddedToken("<|im_end|>", special=True)])
    template = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}<|im_end|>\n{% endfor %}"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, chat_template=template)
    shown = tokenizer.apply_chat_template(list(render_chat(full_trial())), tokenize=False)
    assert "user: Find it.\n\nEpisode 1:<|im_end|>\nassistant: look<|im_end|>\nuser: dark<|im_end|>\n" in shown


def test_plain_text_tells_the_whole_trial_in_words() -> None:
    plain = render_plain(full_trial())
    assert "<|" not in plain
    assert plain.startswith("Task:\nFind it.\n\nEpisode 1\n\nAction:\nlook\n\nFeedback:\ndark\n\nAction:\n[edit]\nleft")
    assert "End of the episode.\n\nVerdict: 0.2\n\nReward: 0\n\nFeedback:\n[review]\nit broke" in plain
    assert "Episode 3\n\nAction:\nright\n\nEnd of the episode.\n\nReward: ?\n" in plain
