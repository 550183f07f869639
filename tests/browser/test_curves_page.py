"""The curves of trainings: live, by keyboard, by a brush, and a reward over what it cost."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tabs import Tab

pytestmark = pytest.mark.browser


def test_the_list_and_the_curves_move_while_a_run_does(
    browser: Any, serve: Callable[[Path], str], small_runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(small_runs / "lstm", tmp_path / "runs" / "lstm")
    run = tmp_path / "runs" / "lstm"
    (run / "results.json").unlink()
    # The copy keeps its times, and a run silent for two minutes is called stopped: this one has just written.
    (run / "metrics.jsonl").touch()
    tab = Tab(browser, serve(tmp_path / "runs"))
    tab.page.locator("tbody .running").wait_for()
    page = tab.open("curves")
    before = page.locator(".reading").first.inner_text()
    with (run / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 14, "tokens": 999, "epoch": 9, "cpu_seconds": 9, "wall_seconds": 9, "loss": 0.001}\n')
    page.wait_for_function("before => document.querySelector('.reading').innerText !== before", arg=before)
    tab.close()


def test_a_reward_is_drawn_over_its_divergence(
    browser: Any, serve: Callable[[Path], str], small_runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(small_runs / "gpt", tmp_path / "runs" / "gpt")
    rows = [
        {"step": n + 1, "tokens": n + 1, "epoch": 0, "cpu_seconds": n + 1, "wall_seconds": n + 1, "loss": 0.1,
         "reward": reward, "kl": kl} for n, (reward, kl) in enumerate([(0.1, 0.0), (0.4, 3.0), (0.3, 2.0)])
    ]  # fmt: skip
    (tmp_path / "runs" / "gpt" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tab = Tab(browser, serve(tmp_path / "runs"))
    tab.page.goto(tab.base + "#/curves?run=gpt&y=train+reward")
    tab.page.get_by_role("radio", name="KL").check(force=True)
    plot = tab.page.get_by_role("slider", name="train reward, over KL")
    plot.focus()
    for key, said in (("Home", "KL 0: gpt 0.1"), ("ArrowRight", "KL 2: gpt 0.3"), ("End", "KL 3: gpt 0.4")):
        tab.page.keyboard.press(key)
        assert plot.get_attribute("aria-valuetext") == said
    assert "x=kl" in tab.page.url
    tab.close()


def test_curves_are_read_by_keyboard_and_samples_by_a_brush(tab: Tab) -> None:
    page = tab.open("curves")
    plot = page.get_by_role("slider", name="train loss")
    plot.focus()
    page.keyboard.press("End")
    assert re.search(r"steps 4: lstm [\d.]+", plot.get_attribute("aria-valuetext"))
    page.get_by_label("log y").check()
    assert "logy=1" in page.url
    page.get_by_role("radio", name="tokens").check(force=True)
    page.get_by_role("slider", name="train loss, over target tokens").wait_for()
    box = page.locator(".plot .u-over").first.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + 60, steps=5)
    page.mouse.up()
    page.locator(".samples pre").first.wait_for()
    assert "reference" in page.locator(".samples pre").first.inner_text()
