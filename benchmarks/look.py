"""What the page of attention weighs and how soon it is there: python benchmarks/look.py [--browser]

The size of a saved page of 64 tokens under 12 layers of 12 heads and under 6 of 8; of the first page of `clew look`,
gzipped; and, with --browser (the extra `browser`, and chromium on the path), the seconds from asking for a text of 256
tokens under 6 layers of 8 heads to its first matrix. Weights are random; for the sizes, queries are scaled until rows
are neither flat nor sharp, which is what deflates worst: the mean entropy is printed.
"""

from __future__ import annotations

import argparse
import gzip
import re
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch

from clew.data.batches import Texts
from clew.inspect.heads import entropy, text_layers
from clew.models.bert import Bert
from clew.page.single_file import LOOK
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.runs.training import train
from clew.web.attention import Maps
from clew.web.saved import Record
from clew.web.serve import Page

TOKENS, WORDS = 64, 256
SHARPER = 4.0
RECIPE = """
name = "bert"
task = {{ kind = "pretrain", max_length = 300, next_sentence = false }}
data = {{ kind = "text", train = ["{text}"] }}
tokenizer = {{ kind = "wordpiece", vocab_size = 300, lowercase = true }}
model = {{ kind = "bert", d_model = 256, d_ff = 512, n_heads = 8, n_layers = 6, max_length = 300 }}
objective = {{ kind = "masked_lm" }}
train.budget.steps = 1
train.batch_tokens = 300
train.evaluate_examples = 1
train.threads = 1
train.optimizer.kind = "adamw"
train.optimizer.lr = 0.001
train.schedule.kind = "constant"
"""


def saved(n_layers: int, n_heads: int) -> tuple[int, float]:
    """Bytes of a saved page of TOKENS tokens, and the mean entropy of its rows in bits."""
    torch.manual_seed(0)
    model = Bert(Bert.Config(n_layers=n_layers, n_heads=n_heads, d_model=64 * n_heads, d_ff=64), 1000)
    with torch.no_grad():
        for layer in model.layers:
            layer.attention.query.weight.mul_(SHARPER)
    ids = torch.randint(5, 1000, (TOKENS,)).tolist()
    batch = Texts([ids], [0], [TOKENS]).batch([0], pad_id=0)
    maps = Maps()
    layers = text_layers(model, batch, [str(i) for i in ids])
    found = maps.keep({"run": "random", "source": "…", "output": "…"}, layers)
    mean = torch.stack([entropy(layer.weights).mean() for layer in layers]).mean()
    record = Record()
    record.add(found, "attention", run="random", text="…", target="", step=None)
    for part, answer in (("thumbnails", maps.thumbnails), ("packed", maps.packed)):
        record.add(answer(found["id"]), f"attention/{found['id']}/{part}")
    return len(record.page("attention", [], text="…").encode()), float(mean)


def first_page() -> int:
    """Bytes, gzipped, of what is sent before the first page is there."""
    html = (LOOK / "index.html").read_text()
    names = re.findall(r'(?:src|href)="/(assets/[^"]+)"', html)
    return sum(len(gzip.compress((LOOK / name).read_bytes())) for name in ["index.html", *names])


def seconds(folder: Path) -> list[float]:
    """From asking for WORDS tokens to the first matrix, three times; the model is in memory after the first."""
    from playwright.sync_api import sync_playwright

    text = folder / "text.txt"
    text.write_text("\n\n".join(f"the cat number {n} sat on the mat ." for n in range(200)), encoding="utf-8")
    recipe = folder / "bert.toml"
    recipe.write_text(RECIPE.format(text=text), encoding="utf-8")
    for _ in train(load_recipe(recipe, [])[0], folder / "runs" / "bert"):
        pass
    assert Run(folder / "runs" / "bert").finished
    page = Page(folder / "runs")
    threading.Thread(target=page.serve, daemon=True).start()
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab: Any = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(f"{page.address}#/attention?run=bert&text=the")
        tab.locator(".head").first.wait_for(timeout=120_000)
        for n in range(3):
            tab.get_by_label("Text").fill(" ".join(["cat"] * (WORDS - 3)) + f" [MASK]{' .' * (n % 2)}")
            begin = time.perf_counter()
            tab.get_by_role("button", name="Look", exact=True).click()
            tab.wait_for_function("n => document.querySelectorAll('.token').length > n", arg=2 * (WORDS - 10))
            found.append(time.perf_counter() - begin)
            tab.get_by_label("Text").fill("the")
            tab.get_by_role("button", name="Look", exact=True).click()
            tab.wait_for_function("() => document.querySelectorAll('.token').length < 20")
        browser.close()
    page.server.should_exit = True
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browser", action="store_true")
    arguments = parser.parse_args()
    for layers, heads in ((12, 12), (6, 8)):
        size, bits = saved(layers, heads)
        print(
            f"saved page, {TOKENS} tokens, {layers} × {heads} heads: {size:,} bytes (limit 1,000,000); {bits:.2f} bits"
        )
    print(f"first page of clew look, gzipped: {first_page():,} bytes (limit 250,000)")
    if arguments.browser:
        with tempfile.TemporaryDirectory(prefix="clew-") as folder:
            took = ", ".join(f"{each:.2f}" for each in seconds(Path(folder)))
            print(f"{WORDS} tokens, 6 × 8 heads, from asking to the first matrix: {took} s (limit 2)")
