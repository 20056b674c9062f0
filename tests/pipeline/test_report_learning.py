"""The report's results: headline, table and curves from what training leaves in the lake, and what is broken said."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.lake import Lake
from pipeline.report_results import arm_and_seed
from tests.pipeline.report_lakes import Reader, lake_of, mined, page_of


def write_evaluation(lake: Lake, arm: str, seed: int, rewards: list[float], **changes: object) -> None:
    """An evaluation on hidden_door with four episodes, in the form in which training writes it."""
    name = f"hidden_door-{arm}-{seed}"
    value: dict[str, object] = {
        "name": name,
        "environment": "hidden_door",
        "k": 4,
        "gamma": 1.0,
        "trials": 512,
        "reward_by_episode": rewards,
        "optimum_by_episode": [0.25, 0.5, 0.75, 1.0],
        "share": sum(rewards) / 2.5,
        "success_within": [0.25, 0.5, 0.75, 0.97],
        "resampled_within": [0.25, 0.44, 0.58, 0.68],
    }
    given = {k: v for k, v in {**value, **changes}.items() if v is not None}
    lake.write_bytes(f"evaluation/{name}.json", json.dumps(given).encode())  # as another program might: NaN too


def learned_lake(folder: Path) -> Lake:
    """A lake with evaluations of three arms and two seeds, and one curve of each kind of training."""
    lake = Lake(folder)
    for seed in (0, 1):
        write_evaluation(lake, "metarl", seed, [0.25, 0.5, 0.7, 0.95 + 0.05 * seed])
        write_evaluation(lake, "cpt", seed, [0.25, 0.35, 0.4, 0.45], resampled_within=[])
        write_evaluation(lake, "markov", seed, [0.25, 0.25, 0.25, 0.25])
        curve = [{"step": 25 * n, "by_kind": {"action": 2.0 / n, "feedback": 3.0 * n}} for n in (1, 2, 3)]
        lake.write_json(f"cpt/hidden_door-cpt-{seed}/metrics.json", {"curve": curve})
        updates = [{"update": n, "reward_by_episode": [0.2, 0.3, 0.4, 0.1 * n]} for n in range(1, 6)]
        lake.write_json(f"metarl/hidden_door-metarl-{seed}/metrics.json", {"curve": updates})
    return lake


def test_the_headline_and_the_table_come_from_the_evaluations(tmp_path: Path) -> None:
    shown = Reader(page_of(learned_lake(tmp_path / "lake"), tmp_path)).text
    headline = "On hidden door, meta-RL reaches 0.97 of the Bayes optimum; CPT alone 0.58; a Markovian policy 0.40."
    assert headline in shown
    assert "0.9700.96 – 0.98" in shown  # median, lowest and highest of two seeds
    assert "4 episodes, 2 seeds" in shown
    assert "2.500" in shown
    assert "meta-RL0.2500.5000.7000.975" in shown  # the numbers behind the curve: medians of the seeds


def test_several_environments_share_a_headline(tmp_path: Path) -> None:
    lake = learned_lake(tmp_path / "lake")
    write_evaluation(lake, "metarl", 7, [0.3] * 4, environment="dark_bandit", name="dark_bandit-metarl-7", share=0.5)
    shown = Reader(page_of(lake, tmp_path)).text
    assert "In 2 environments, meta-RL reaches 0.50 to 0.97 of the Bayes optimum" in shown
    assert "On dark bandit, meta-RL reaches 0.50 of the Bayes optimum." in shown


def test_curves_are_drawn_with_labels_numbers_and_unique_ids(tmp_path: Path) -> None:
    page = page_of(learned_lake(tmp_path / "lake"), tmp_path)
    reader = Reader(page)
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    titles = [re.search("<title[^>]*>(.*?)</title>", drawing) for drawing in drawings]
    assert [title[1] for title in titles if title] == [
        "hidden door: reward by episode",
        "hidden door: solved within k episodes",
        "hidden door, CPT: loss by kind of segment",
        "hidden door, meta-RL: return while training",
    ]
    for words in ("Bayes optimum", "meta-RL", "CPT", "Markovian policy", "episode of the trial", "mean reward"):
        assert f">{words}</text>" in drawings[0], words
    assert ">meta-RL, resampled</text>" in drawings[1] and "CPT" not in drawings[1]
    assert ">feedback (9.0) ↑</text>" in drawings[2] and ">action</text>" in drawings[2]
    assert ">Bayes optimum</text>" in drawings[3]
    ids = [a["id"] for _, a in reader.tags if "id" in a]
    assert len(ids) == len(set(ids))
    used = re.findall(r'url\(#([^)]*)\)|href="#(p[^"]*)"', page)
    assert used and {name for pair in used for name in pair if name} <= set(ids)
    assert all(after - before <= 1 for before, after in pairwise(reader.headings))
    assert "http://" not in page and "https://" not in page
    assert "#a0000" not in page  # every stand-in colour has become one of the theme


def test_equal_lakes_give_equal_pages(tmp_path: Path) -> None:
    first = page_of(learned_lake(tmp_path / "a"), tmp_path)
    assert first == page_of(learned_lake(tmp_path / "b"), tmp_path)


def test_text_in_a_result_file_is_escaped_in_html_and_in_drawings(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    bad = "<img src=x onerror=alert(1)>$x^2$\u202e"
    write_evaluation(lake, bad, 0, [0.3] * 4, environment=bad, name=bad)
    page = page_of(lake, tmp_path)
    reader = Reader(page)
    assert "img" not in {tag for tag, _ in reader.tags}
    assert "\u202e" not in page
    assert reader.text.count("<img src=x onerror=alert(1)>") >= 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"share": None}, "evaluation/hidden_door-cpt-0.json lacks the key 'share'"),
        ({"share": "high"}, "share is 'high' (str)"),
        (
            {"reward_by_episode": [0.1, float("nan"), 0.2, 0.3]},
            "reward_by_episode holds 'nan', which is no finite number",
        ),
        ({"optimum_by_episode": [0.5]}, "optimum_by_episode has 1 entries for k = 4 episodes"),
        ({"k": True}, "k is 'True' (bool)"),
    ],
)
def test_a_broken_evaluation_is_said_and_the_others_are_shown(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    lake = learned_lake(tmp_path / "lake")
    write_evaluation(lake, "cpt", 0, [0.2] * 4, **changes)
    shown = Reader(page_of(lake, tmp_path)).text
    assert said in shown
    assert "meta-RL reaches 0.97 of the Bayes optimum; CPT alone 0.58" in shown
    assert "(1 seed)" in shown


def test_result_files_that_are_no_objects_or_not_there_are_said(tmp_path: Path) -> None:
    lake = learned_lake(tmp_path / "lake")
    lake.write_bytes("metarl/odd-1/metrics.json", b"[1]")
    lake.write_bytes("cpt/cut-1/metrics.json", b'{"curve": [{"st')
    lake.write_json("cpt/empty-1/metrics.json", {"curve": []})
    shown = Reader(page_of(lake, tmp_path, evaluations=("evaluation", "elsewhere", "one/file.json"))).text
    assert "metarl/odd-1/metrics.json holds a list, not an object" in shown
    assert "cpt/cut-1/metrics.json is not JSON" in shown
    assert "elsewhere holds no evaluation yet" in shown
    assert "one/file.json is missing" in shown
    assert "meta-RL reaches 0.97" in shown


def test_a_lake_without_training_says_what_is_not_there_yet(tmp_path: Path) -> None:
    shown = Reader(page_of(lake_of(tmp_path / "lake", mined()), tmp_path)).text
    assert "evaluation holds no evaluation yet" in shown
    assert "No CPT run has left its metrics in the lake yet." in shown
    assert "No meta-RL run has left its metrics in the lake yet." in shown


@pytest.mark.parametrize(
    ("name", "arm", "seed"),
    [
        ("hidden_door-metarl-2", "metarl", 2),
        ("hidden_door-single_episode_cut-10", "single_episode_cut", 10),
        ("base", "base", None),
        ("hidden_door/seed3/cpt", "cpt", 3),
        ("7", "7", 7),
    ],
)
def test_a_name_tells_arm_and_seed(name: str, arm: str, seed: int | None) -> None:
    assert arm_and_seed(name, "hidden_door") == (arm, seed)
