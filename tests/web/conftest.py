"""A folder of small runs, trained once, and the page over it, served as `clew look` serves it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from clew.recipe_file import load_recipe
from clew.runs.training import train
from clew.web.serve import Page

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
train.batch_tokens = 100
train.evaluate_every = 2
train.evaluate_examples = 2
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
BERT = """
name = "bert"
task = { kind = "pretrain", max_length = 32, next_sentence = false }
data = { kind = "text", train = ["TEXT"] }
tokenizer = { kind = "wordpiece", vocab_size = 300, lowercase = true }
model = { kind = "bert", d_model = 8, d_ff = 16, n_heads = 2, n_layers = 2, max_length = 64 }
objective = { kind = "masked_lm" }
train.budget.steps = 2
train.batch_tokens = 200
train.evaluate_every = 2
train.evaluate_examples = 4
train.threads = 1
train.optimizer.kind = "adamw"
train.optimizer.lr = 0.001
train.schedule.kind = "constant"
"""
WORDS = """
name = "words"
task = { kind = "embed" }
data = { kind = "text", train = ["TEXT"] }
tokenizer = { kind = "word", min_count = 1, lowercase = true }
model = { kind = "word2vec", d_model = 8 }
objective = { kind = "negative_sampling", window = 2, negatives = 2 }
train.budget.epochs = 2
train.batch_tokens = 200
train.threads = 1
train.optimizer.kind = "sgd"
train.optimizer.lr = 0.05
train.schedule.kind = "constant"
"""
TEXT = "\n\n".join(f"the cat number {n} sat on the mat .\nthe dog then ate its old bone ." for n in range(40))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four finished runs: lstm, transformer, bert, words."""
    folder = tmp_path_factory.mktemp("look")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    for name, recipe in {"lstm": LSTM, "transformer": TRANSFORMER, "bert": BERT, "words": WORDS}.items():
        file = folder / f"{name}.toml"
        file.write_text(recipe.replace("TEXT", str(folder / "text.txt")), encoding="utf-8")
        for _ in train(load_recipe(file, [])[0], folder / "runs" / name):
            pass
    return folder / "runs"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks a page, with its token unless told otherwise."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.host, self.port = parts.hostname or "", parts.port or 0
        self.token = parts.query.removeprefix("token=")

    def __call__(self, path: str, body: Any = None, method: str = "", **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        given = {"X-Clew-Token": self.token} | ({} if content is None else {"Content-Type": "application/json"})
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method or ("GET" if content is None else "POST"), path, content,
                               {name: value for name, value in given.items() if value})  # fmt: skip
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], Client]]:
    """Put the page over a folder on a port, until the tests are over."""
    pages: list[tuple[Page, threading.Thread]] = []

    def start(root: Path) -> Client:
        page = Page(root)
        thread = threading.Thread(target=page.serve, daemon=True)
        thread.start()
        while not page.server.started:
            time.sleep(0.01)
        pages.append((page, thread))
        return Client(page.address)

    yield start
    for page, thread in pages:
        page.server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def page(runs: Path, serve: Callable[[Path], Client]) -> Client:
    return serve(runs)
