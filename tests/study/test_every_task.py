"""Two small models of every task are compared, to the report; then one is evaluated, and predicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clew.cli.compare import compare
from clew.cli.evaluate import evaluate
from clew.cli.predict import predict
from clew.config import KINDS
from clew.metrics.shown import METRICS
from clew.page.single_file import STATIC
from clew.recipe_file import load_recipe
from clew.runs.training import train

SGD = 'train.optimizer = { kind = "sgd", lr = 0.05 }\n'
ADAM = 'train.optimizer = { kind = "adamw", lr = 0.001 }\n'
SHORT = """
train.budget.steps = 2
train.batch.tokens = 200
train.evaluate_every = 2
train.evaluate_examples = 4
train.threads = 1
train.schedule.kind = "constant"
decode = { beam = 1, max_length = 8 }
"""
ROWS = """
data.kind = "files"
data.columns = ["text", "other", "label", "number", "tags", "answers", "b", "right"]
data.train = ["HOME/rows.jsonl"]
data.valid = ["HOME/rows.jsonl"]
"""
TEXT = 'data = { kind = "text", train = ["HOME/text.txt"] }\n'
PAIRS = """
data.kind = "files"
data.columns = ["chosen", "rejected"]
data.train = ["HOME/pairs.jsonl"]
data.valid = ["HOME/pairs.jsonl"]
"""
BERT = """
tokenizer = { kind = "wordpiece", vocab_size = 200, lowercase = true }
model = { kind = "bert", d_model = 8, d_ff = 16, n_heads = 2, n_layers = 1, max_length = 64 }
"""
GPT = """
tokenizer = { kind = "characters" }
model = { kind = "gpt2", d_model = 16, n_heads = 2, n_layers = 1, max_length = 64, dropout = 0.0 }
"""
STARTED = """
tokenizer = { kind = "characters" }
model = { kind = "gpt2", start = "HOME/language_model", dropout = 0.0 }
"""
T5 = """
tokenizer = { kind = "bpe", vocab_size = 320 }
model = { kind = "t5", d_model = 16, d_kv = 8, d_ff = 32, n_heads = 2, n_encoder_layers = 1, n_decoder_layers = 1 }
"""
RECIPES = {
    "translate": """
task = { kind = "translate", source = "en", target = "fr" }
data = { kind = "grammar", size = 100, valid = 12, test = 8, combinations = 2 }
tokenizer = { kind = "word", joint = false, punctuation = false }
model = { kind = "seq2seq", unit = "gru", d_embedding = 8, d_model = 8, dropout = 0.0 }
objective = { kind = "translation" }
""",
    "embed": f"""
task = {{ kind = "embed" }}
{TEXT}
tokenizer = {{ kind = "word", min_count = 1, lowercase = true }}
model = {{ kind = "word2vec", d_model = 8 }}
objective = {{ kind = "negative_sampling", window = 2, negatives = 2 }}
""",
    "classify": f"""
task.kind = "classify"
task.max_length = 64
task.text = "text"
task.label = "label"
task.metrics = ["accuracy", "macro_f1", "f1", "matthews"]
task.positive = "yes"
objective.kind = "classification"
{ROWS}{BERT}""",
    "regress": f"""
task = {{ kind = "regress", text = "text", pair = "other", score = "number", max_length = 64 }}
objective.kind = "regression"
{ROWS}{BERT}""",
    "tag": f"""
task = {{ kind = "tag", text = "text", tags = "tags", spans = true, max_length = 64 }}
objective.kind = "classification"
{ROWS}{BERT}""",
    "choose": f"""
task = {{ kind = "choose", text = "text", choices = ["other", "b"], label = "right", max_length = 64 }}
objective.kind = "classification"
{ROWS}{BERT}""",
    "answer": f"""
task = {{ kind = "answer", question = "other", context = "text", max_length = 32, max_question = 8, stride = 4 }}
objective.kind = "span"
{ROWS}{BERT}""",
    "pretrain": f"""
task = {{ kind = "pretrain", max_length = 32 }}
objective.kind = "masked_lm"
{TEXT}{BERT}""",
    "language_model": f"""
task = {{ kind = "language_model", max_length = 32 }}
objective.kind = "language_model"
{TEXT}{GPT}""",
    "denoise": f"""
task = {{ kind = "denoise", max_length = 32 }}
objective.kind = "translation"
{TEXT}{T5}""",
    "text_to_text": f"""
task = {{ kind = "text_to_text", metrics = {{ said = "accuracy", same = "bleu" }} }}
data.kind = "mixture"
data.parts.said = {{ data = MINE, input = "said: {{text}}", target = "{{label}}" }}
data.parts.same = {{ data = MINE, input = "same: {{text}}", target = "{{text}}" }}
objective.kind = "translation"
{T5}""".replace("MINE", f"{{ {', '.join(ROWS.replace('data.', '').strip().splitlines())} }}"),
    "reward_model": f"""
task = {{ kind = "reward_model" }}
objective.kind = "reward"
tokenizer = {{ kind = "word" }}
model = {{ kind = "text_classifier", encoder = "convolution", d_embedding = 8, d_model = 8, widths = [1] }}
{PAIRS}""",
    "preference": f"""
task.kind = "preference"
task.max_length = 64
task.asked = {{ text = "HOME/text.txt", prompt = 4, written = 4, reward = {{ run = "HOME/classify", label = "yes" }} }}
objective.kind = "dpo"
{PAIRS}{STARTED}""",
    "ppo": f"""
task.kind = "ppo"
task.document = "line"
task.max_length = 32
task.prompt = 4
task.written = 4
task.texts = 4
task.reward = {{ run = "HOME/classify", label = "yes" }}
objective = {{ kind = "ppo", batch_size = 4 }}
{TEXT}{STARTED}""",
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, rows and pairs; a model that writes and one that judges, trained for two steps."""
    folder = tmp_path_factory.mktemp("tasks")
    texts = [f"the {('good', 'bad')[n % 2]} film number {n} is long" for n in range(40)]
    (folder / "text.txt").write_text("\n\n".join("\n".join(texts[n : n + 4]) for n in range(0, 40, 4)) + "\n")
    rows = [
        {"text": text, "other": "what is long", "label": ("yes", "no")[n % 2], "number": str(n % 5), "b": "the sea",
         "right": str(n % 2),
         "tags": "O B-x I-x O O O O", "answers": json.dumps([{"text": "film", "answer_start": text.index("film")}])}
        for n, text in enumerate(texts)
    ]  # fmt: skip
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = [{"chosen": text, "rejected": text[:-4] + "short"} for text in texts]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    return folder


def recipe(home: Path, task: str) -> Path:
    file = home / f"{task}.toml"
    file.write_text(
        f'name = "{task}"\n{RECIPES[task]}{SHORT}{SGD if task == "embed" else ADAM}'.replace("HOME", str(home))
    )
    return file


def test_every_task_is_among_them() -> None:
    assert set(RECIPES) == set(KINDS["task"]) - {"ask"}  # which trains nothing


@pytest.mark.parametrize("task", RECIPES)
def test_two_are_compared(
    home: Path, tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (STATIC / "clew.js").is_file():
        pytest.skip("the browser page has not been built (python web/build.py)")
    monkeypatch.setenv("CLEW_CACHE", str(home / "cache"))
    for needed in ("language_model", "classify") if task in ("preference", "ppo") else ():
        if not (home / needed).exists():
            for _ in train(load_recipe(recipe(home, needed), [])[0], home / needed):
                pass
    compare([str(recipe(home, task))], vary=["train.batch.tokens=150,200"], out=tmp_path / "out")
    view = json.loads((tmp_path / "out" / "report.json").read_text())
    assert view["quality"] in view["metrics"] and len(view["models"]) == 2
    for model in view["models"]:
        assert view["quality"] in model["results"], model
    results = json.loads(next((tmp_path / "out").rglob("results.json")).read_text())
    figures = {name for split in results["splits"].values() for name, found in split.items() if isinstance(found, dict)}
    assert {name.partition(":")[0] for name in figures} <= set(METRICS)
    run = next((tmp_path / "out").rglob("results.json")).parent
    example = view["sentences"][0]["source"] if view["sentences"] else "film"
    capsys.readouterr()
    evaluate(run)
    assert view["quality"] in capsys.readouterr().out
    predict(run, example, n_best=1, as_json=True)
    assert "text" in json.loads(capsys.readouterr().out)
    if 'kind = "bert"' in RECIPES[task]:
        predict(run, example, n_best=1, precision="int8", as_json=True)
        assert "text" in json.loads(capsys.readouterr().out)
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
