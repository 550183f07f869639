"""Small runs of six families, for the tests of the page and of its server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clew.recipe_file import load_recipe
from clew.runs.training import train
from clew.web.serve import Listener, Page

LSTM = """
name = "lstm"
seed = 1
task = { kind = "translate", source = "en", target = "fr" }
data = { kind = "grammar", size = 300, valid = 12, test = 8, combinations = 2 }
tokenizer = { kind = "word", joint = false, punctuation = false }
model = { kind = "seq2seq", unit = "lstm", d_embedding = 8, d_model = 8, dropout = 0.0, attention.score = "additive" }
objective = { kind = "translation" }
decode = { beam = 1, max_length = 12 }
train.budget.steps = 4
train.batch.tokens = 100
train.evaluate_every = 2
train.evaluate_examples = 2
train.keep = 2
train.threads = 1
train.optimizer.kind = "adamw"
train.optimizer.lr = 0.01
train.schedule.kind = "constant"
"""
TRANSFORMER = LSTM.replace('name = "lstm"', 'name = "transformer"').replace(
    'model = { kind = "seq2seq", unit = "lstm", d_embedding = 8, d_model = 8, dropout = 0.0, '
    'attention.score = "additive" }',
    'model = { kind = "transformer", d_model = 8, d_ff = 16, n_heads = 2, n_encoder_layers = 1, n_decoder_layers = 2, '
    "share_embeddings = false }",
)
TWO_STEPS = """
train.budget.steps = 2
train.batch.tokens = 200
train.evaluate_every = 2
train.evaluate_examples = 4
train.threads = 1
train.optimizer.kind = "adamw"
train.optimizer.lr = 0.001
train.schedule.kind = "constant"
"""
BERT = """
name = "bert"
task = { kind = "pretrain", max_length = 32, next_sentence = false }
data = { kind = "text", train = ["TEXT"] }
tokenizer = { kind = "wordpiece", vocab_size = 300, lowercase = true }
model = { kind = "bert", d_model = 8, d_ff = 16, n_heads = 2, n_layers = 2, max_length = 64 }
objective = { kind = "masked_lm" }
"""
GPT = """
name = "gpt"
task = { kind = "language_model", max_length = 32 }
data = { kind = "text", train = ["TEXT"] }
tokenizer = { kind = "characters" }
model = { kind = "gpt2", d_model = 16, n_heads = 2, n_layers = 2, max_length = 64, dropout = 0.0 }
objective = { kind = "language_model" }
decode = { beam = 1, max_length = 8, sample = { temperature = 0.8, seed = 3 } }
"""
T5 = """
name = "t5"
task = { kind = "denoise", max_length = 32 }
data = { kind = "text", train = ["TEXT"] }
tokenizer = { kind = "bpe", vocab_size = 320 }
model = { kind = "t5", d_model = 16, d_kv = 8, d_ff = 32, n_heads = 2, n_encoder_layers = 1, n_decoder_layers = 2 }
objective = { kind = "translation" }
decode = { beam = 2, max_length = 12 }
"""
WORDS = """
name = "words"
task = { kind = "embed" }
data = { kind = "text", train = ["TEXT"] }
tokenizer = { kind = "word", min_count = 1, lowercase = true }
model = { kind = "word2vec", d_model = 8 }
objective = { kind = "negative_sampling", window = 2, negatives = 2 }
train.budget.epochs = 2
train.batch.tokens = 200
train.threads = 1
train.optimizer.kind = "sgd"
train.optimizer.lr = 0.05
train.schedule.kind = "constant"
"""
TEXT = "\n\n".join(f"the cat number {n} sat on the mat .\nthe dog then ate its old bone ." for n in range(40))


def train_runs(folder: Path) -> Path:
    """Six small runs, trained to their end: lstm, transformer, bert, gpt, t5, words."""
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    recipes = {"lstm": LSTM, "transformer": TRANSFORMER, "words": WORDS}
    recipes |= {"bert": BERT + TWO_STEPS, "gpt": GPT + TWO_STEPS, "t5": T5 + TWO_STEPS}
    for name, recipe in recipes.items():
        file = folder / f"{name}.toml"
        file.write_text(recipe.replace("TEXT", str(folder / "text.txt")), encoding="utf-8")
        for _ in train(load_recipe(file, [])[0], folder / "runs" / name):
            pass
    return folder / "runs"


WORD_RUNS = {
    "words": WORDS.replace("epochs = 2", "epochs = 6") + "train.save_every = 3\ntrain.keep = 4\n",
    "words2": WORDS.replace('name = "words"', 'name = "words2"\nseed = 2'),
    "cbow": WORDS.replace('kind = "word2vec"', 'kind = "word2vec", architecture = "cbow"'),
    "glove": WORDS.replace('kind = "word2vec"', 'kind = "glove"')
    .replace('kind = "negative_sampling", window = 2, negatives = 2', 'kind = "glove", window = 2')
    .replace('train.optimizer.kind = "sgd"', 'train.optimizer.kind = "adagrad"'),
    "film": """
name = "film"
task = { kind = "classify", text = "text", label = "label" }
data = { kind = "files", columns = ["text", "label"], train = ["TABLE"], valid = ["TABLE"] }
tokenizer = { kind = "word", vocab_size = 100 }
model = { kind = "text_classifier", encoder = "attention", d_embedding = 8, d_model = 6, dropout = 0.0 }
objective = { kind = "classification" }
train.budget.steps = 3
train.batch.tokens = 100
train.threads = 1
train.optimizer = { kind = "adam", lr = 0.01 }
train.schedule.kind = "constant"
""",
}  # fmt: skip


def train_word_runs(folder: Path) -> Path:
    """Small runs of word vectors, the first with its checkpoints, and of a classifier that attends to its states."""
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    rows = [f"the film number {n} is {('good', 'bad')[n % 2]} and long\t{('yes', 'no')[n % 2]}" for n in range(40)]
    (folder / "table.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")
    for name, recipe in WORD_RUNS.items():
        file = folder / f"{name}.toml"
        file.write_text(recipe.replace("TEXT", f"{folder}/text.txt").replace("TABLE", f"{folder}/table.tsv"))
        for _ in train(load_recipe(file, [])[0], folder / "runs" / name):
            pass
    return folder / "runs"


READING = """
name = "NAME"
task = TASK
data = { kind = "files", columns = COLUMNS, train = ["ROWS"], valid = ["ROWS"] }
tokenizer = { kind = "wordpiece", vocab_size = 200, lowercase = true }
model = { kind = "bert", d_model = 8, d_ff = 16, n_heads = 2, n_layers = 2, max_length = 64 }
objective = { kind = "OBJECTIVE" }
"""
NUMBERS = ["one", "two", "three", "four", "five"]
# What each reads, its objective, and its rows.
READERS: dict[str, tuple[str, str, list[dict[str, str]]]] = {
    "pairs": ('{ kind = "classify", text = "premise", pair = "hypothesis", label = "label", max_length = 32 }',
              "classification",
              [{"premise": f"{a} cats sleep", "hypothesis": f"{b} cats sleep", "label": "yes" if a == b else "no"}
               for a in NUMBERS for b in NUMBERS]),
    "alike": ('{ kind = "regress", text = "sentence1", pair = "sentence2", score = "score", max_length = 32 }',
              "regression",
              [{"sentence1": f"{a} cats", "sentence2": f"{b} cats", "score": "5" if a == b else "1"}
               for a in NUMBERS for b in NUMBERS]),
    "choices": ('{ kind = "choose", text = "question", choices = ["A", "B", "C"], label = "answer", max_length = 32 }',
                "classification",
                [{"question": f"which is {a} ?", "A": a, "B": b, "C": "many", "answer": "A"}
                 for a in NUMBERS for b in NUMBERS]),
    "answers": ('{ kind = "answer", version = "1.1", max_length = 48, max_question = 8, stride = 8 }', "span",
                [{"question": f"how many {b} ?", "context": f"😀 there are {a} {b} here",
                  "answers": json.dumps([{"text": a, "answer_start": 12}])}
                 for a in NUMBERS for b in ("cats", "dogs")]),
    "tags": ('{ kind = "tag", max_length = 32 }', "classification",
             [{"words": f"{a} cats sleep", "tags": "NUM NOUN VERB"} for a in NUMBERS]),
    "names": ('{ kind = "tag", spans = true, max_length = 32 }', "classification",
              [{"words": f"in New York {a} sleep", "tags": "O B-place I-place O O"} for a in NUMBERS]),
}  # fmt: skip


def train_reading_runs(folder: Path) -> Path:
    """Small encoders of tasks that read texts in several parts, and of tagging."""
    for name, (task, objective, rows) in READERS.items():
        table = folder / f"{name}.jsonl"
        table.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
        recipe = READING.replace("NAME", name).replace("TASK", task).replace("OBJECTIVE", objective)
        recipe = recipe.replace("COLUMNS", json.dumps([*rows[0]])).replace("ROWS", str(table)) + TWO_STEPS
        (folder / f"{name}.toml").write_text(recipe, encoding="utf-8")
        for _ in train(load_recipe(folder / f"{name}.toml", [])[0], folder / "runs" / name):
            pass
    return folder / "runs"


@contextmanager
def serving() -> Iterator[Callable[[Path], str]]:
    """Puts pages over folders of runs on ports of their own, as `clew look` does: their addresses, with the token."""
    pages: list[tuple[Page, threading.Thread]] = []

    def start(root: Path) -> str:
        page = Page(root, Listener())
        thread = threading.Thread(target=page.serve, daemon=True)
        thread.start()
        while not page.server.started:
            time.sleep(0.01)
        pages.append((page, thread))
        return page.listener.address

    yield start
    for page, thread in pages:
        page.server.should_exit = True
        thread.join(10)
