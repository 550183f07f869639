"""Choices scored by a model that writes: the sums by a loop, the four ways, examples, calibration, the command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from clew import cli
from clew.config import DecodeConfig, TokenizerConfig
from clew.data.rows import ReadReport, Rows
from clew.errors import DataError, RecipeError
from clew.inputs import Tokens
from clew.models.gpt2 import GPT2, GPT2Config
from clew.recipe_file import load_recipe
from clew.runs.training import train
from clew.tasks.ask import Ask, AskConfig, calibration_error
from clew.text.tokenizer import Tokenizer

TEXT = "Q: is it good?\nA: yes no maybe N/A bad fine.\n"


def ask(**changes: Any) -> Ask:
    settings = {"prompt": "Q: {text}?\nA:", "choices": (" yes", " {other}"), "label": "label", "labels": ("y", "n")}
    return Ask(AskConfig.model_validate({**settings, **changes}))


def rows(n: int = 5) -> Rows:
    texts = ["is it good", "bad", "fine", "it is bad", "good"][:n]
    labels = ["y", "n", "y", "n", "y"][:n]
    return Rows({"text": texts, "other": ["no", "maybe", "no", "no maybe", "no"][:n], "label": labels}, ReadReport("x"))


def made() -> tuple[GPT2, Tokenizer]:
    tokenizer = Tokenizer.train([TEXT], TokenizerConfig(kind="characters", vocab_size=60))
    torch.manual_seed(0)
    model = GPT2(
        GPT2Config(d_model=16, n_heads=2, n_layers=1, max_length=64, dropout=0.0), Tokens(len(tokenizer))
    ).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model, tokenizer


@torch.no_grad()
def likelihood(model: GPT2, tokenizer: Tokenizer, prompt: str, choice: str) -> float:
    ids, n = tokenizer.encode([prompt])[0], 0.0
    for i in tokenizer.encode([choice])[0]:
        n += float(model.logits(model(torch.tensor([ids])).hidden[0, -1]).log_softmax(dim=0)[i])
        ids = [*ids, i]
    return n


def test_each_way_by_hand() -> None:
    model, tokenizer = made()
    task, table = ask(), rows()
    found = task.evaluate(model, tokenizer, table, DecodeConfig())
    right = dict.fromkeys(task.ways, 0)
    for text, other, label in zip(table["text"], table["other"], table["label"], strict=True):
        scores: dict[str, list[float]] = {way: [] for way in task.ways}
        for choice in (" yes", f" {other}"):
            raw = likelihood(model, tokenizer, f"Q: {text}?\nA:", choice)
            base = likelihood(model, tokenizer, "Q: N/A?\nA:", choice)
            for way, value in zip(task.ways, (raw, raw / len(choice), raw / len(choice), raw - base), strict=True):
                scores[way].append(value)
        for way, values in scores.items():
            right[way] += ("y", "n")[int(values[1] > values[0])] == label
    for way in task.ways:
        assert found[way]["value"] == pytest.approx(20 * right[way])
    assert found["questions"] == 5 and found["most_frequent"] == 60


def test_scores_are_sums_of_log_probabilities() -> None:
    model, tokenizer = made()
    prompts, choices = ["Q: bad?\nA:", "Q: it is good?\nA:", "N/A"], [" yes", " no maybe", " fine"]
    found, tokens = ask().log_likelihoods(model, tokenizer, prompts, choices)
    wanted = [likelihood(model, tokenizer, *pair) for pair in zip(prompts, choices, strict=True)]
    assert np.allclose(found, wanted, atol=1e-4) and tokens.tolist() == [4, 9, 5]


def test_examples_come_in_turn_from_training_rows() -> None:
    text = ask(shots=3, between="\n").shots(rows())
    parts = [part for part in text.split("Q: ") if part]
    assert len(parts) == 3 and text.endswith("\n")
    answers = [part.strip().rsplit("A: ", 1)[1] for part in parts]
    assert answers[0] == answers[2] == "yes" != answers[1]
    assert ask().shots(rows()) == ""
    with pytest.raises(DataError, match="training rows"):
        ask(shots=1).shots(None)


def test_calibration_error_by_hand() -> None:
    logit = math.log(0.75 / 0.25)
    scores = np.array([[logit, 0.0]] * 4)
    assert calibration_error(scores, np.array([0, 0, 0, 1])) == pytest.approx(0)
    assert calibration_error(scores, np.array([1, 1, 1, 1])) == pytest.approx(75)


def test_a_label_that_is_none_is_told() -> None:
    with pytest.raises(RecipeError, match="1 labels for 2 choices"):
        ask(labels=("y",))
    with pytest.raises(DataError, match='"y" is no label'):
        ask(labels=("1", "0")).evaluate(*made(), rows(), DecodeConfig())


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text("Q: good\nA: yes\n\nQ: bad\nA: no\n\n" * 40)
    folder = tmp_path
    (folder / "rows.tsv").write_text("text\tlabel\n" + "good\t1\nbad\t0\n" * 4)
    (tmp_path / "gpt.toml").write_text(f"""
name = "tiny"
task = {{ kind = "language_model", max_length = 16 }}
data = {{ kind = "text", train = ["{tmp_path}/text.txt"] }}
tokenizer = {{ kind = "characters" }}
model = {{ kind = "gpt2", d_model = 32, n_heads = 2, n_layers = 2, max_length = 32, dropout = 0.0 }}
objective = {{ kind = "language_model" }}
decode = {{ beam = 1, max_length = 8 }}
[train]
device = "cpu"
batch.tokens = 128
optimizer = {{ kind = "adamw", lr = 1e-2 }}
budget = {{ steps = 120 }}
""")
    (tmp_path / "ask.toml").write_text(f"""
name = "ask"
data = {{ kind = "files", train = ["{folder}/rows.tsv"], valid = ["{folder}/rows.tsv"], columns = ["text", "label"] }}
task = {{ kind = "ask", prompt = "Q: {{text}}\\nA:", choices = [" no", " yes"], label = "label", labels = ["0", "1"] }}
model = {{ kind = "gpt2" }}
objective = {{ kind = "language_model" }}
""")
    list(train(load_recipe(tmp_path / "gpt.toml", [])[0], tmp_path / "run"))
    command = ["evaluate", str(tmp_path / "run"), "--ask", str(tmp_path / "ask.toml"), "--json"]
    out = CliRunner().invoke(cli.app, command)
    assert out.exit_code == 0, out.output
    figures = json.loads(out.stdout)
    assert figures["accuracy"]["value"] == 100 and figures["outputs"][:2] == ["1", "0"]
    out = CliRunner().invoke(cli.app, [*command[:-1], "task.shots=1"])
    assert out.exit_code == 0 and "accuracy_calibrated" in out.output
    out = CliRunner().invoke(cli.app, [*command[:3], str(tmp_path / "gpt.toml")])
    assert out.exit_code == 2 and "the task ask" in out.output
