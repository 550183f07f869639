"""What the page of `clew look` weighs and how soon it is there: python benchmarks/look.py [--browser]

Always: the size of a saved page of 64 tokens under 12 layers of 12 heads and under 6 of 8, and of the first page,
gzipped. Queries are scaled until rows are neither flat nor sharp, which is what deflates worst: the mean entropy is
printed.

With --browser (the extra `browser`, and chromium on the path; it draws by software, on the processor):

- a text of 256 tokens under 6 layers of 8 heads: from asking to the matrix, the model's reading included; beside it
  BertViz, from the same weights in memory to its page drawn, where $CLEW_PEERS/bertviz has it (benchmarks/README.md);
- 512 tokens under 12 layers of 12 heads: the same; from one head to the next; frames while a pointer moves over it;
- 100,000 words of 100 dimensions in the projector: from asking to the first paint, and frames while they are dragged;
- a million words, of which 100,000 are drawn.

Weights are random. A time ends when the browser has painted: two frames after the page says that it has drawn.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clew.data.batches import Texts
from clew.inputs import Tokens
from clew.inspect.heads import entropy, text_layers
from clew.models.bert import Bert
from clew.page.single_file import LOOK
from clew.recipe_file import load_recipe
from clew.runs.training import train
from clew.web.attention import Maps
from clew.web.saved import Record
from clew.web.serve import Listener, Page

TOKENS, SHARPER = 64, 4.0
SCRIPTS = {"require": "requirejs/require.js", "d3": "d3/dist/d3.min.js", "jquery": "jquery/dist/jquery.min.js"}
TRAIN = """
train.threads = 1
train.schedule.kind = "constant"
"""
BERT = """
name = "{name}"
task = {{ kind = "pretrain", max_length = 512, next_sentence = false }}
data = {{ kind = "text", train = ["{text}"] }}
tokenizer = {{ kind = "wordpiece", vocab_size = 300, lowercase = true }}
model = {{ kind = "bert", d_model = {width}, d_ff = 512, n_heads = {heads}, n_layers = {layers}, max_length = 512 }}
objective = {{ kind = "masked_lm" }}
train.budget.steps = 1
train.batch.tokens = 512
train.evaluate_examples = 1
train.optimizer = {{ kind = "adamw", lr = 0.001 }}
"""
WORDS = """
name = "{name}"
task = {{ kind = "embed" }}
data = {{ kind = "text", train = ["{text}"] }}
tokenizer = {{ kind = "word", min_count = 1, vocab_size = 2000000 }}
model = {{ kind = "word2vec", d_model = {width} }}
objective = {{ kind = "negative_sampling", window = 2, negatives = 2 }}
train.budget.epochs = 1
train.optimizer = {{ kind = "sgd", lr = 0.05 }}
"""
FRAMES = """() => { window.frames_ = []; let last = performance.now();
  const step = (now) => { window.frames_.push(now - last); last = now; window.asked_ = requestAnimationFrame(step); };
  requestAnimationFrame(step); }"""
PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"


def saved(n_layers: int, n_heads: int) -> tuple[int, float]:
    """Bytes of a saved page of TOKENS tokens, and the mean entropy of its rows in bits."""
    torch.manual_seed(0)
    model = Bert(Bert.Config(n_layers=n_layers, n_heads=n_heads, d_model=64 * n_heads, d_ff=64), Tokens(1000))
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


def trained(folder: Path, recipe: str, text: str, **values: Any) -> None:
    """A run of that recipe, hardly trained, on that text."""
    name = values["name"]
    (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    file = folder / f"{name}.toml"
    file.write_text((recipe + TRAIN).format(text=folder / f"{name}.txt", **values), encoding="utf-8")
    for _ in train(load_recipe(file, [])[0], folder / "runs" / name):
        pass


def words(n: int) -> str:
    """n different words, some of them more than once."""
    return "\n".join(" ".join(f"word{k % n}" for k in range(start, start + 20)) for start in range(0, n * 6 // 5, 20))


class Watch:
    """A page of the browser whose times are taken."""

    def __init__(self, browser: Any, address: str) -> None:
        self.tab = browser.new_page(viewport={"width": 1280, "height": 900})
        self.tab.set_default_timeout(300_000)
        self.base = address.partition("?")[0]
        self.tab.goto(address)
        self.tab.locator("tbody tr").first.wait_for()

    def seconds(self, act: Callable[[], Any], seen: str, **settings: Any) -> float:
        """From an act to the paint after `seen` is true."""
        begin = time.perf_counter()
        act()
        self.tab.wait_for_function(seen, polling="raf", **settings)
        self.tab.evaluate(PAINTED)
        return time.perf_counter() - begin

    def frames(self, places: list[tuple[float, float]], held: bool = False) -> str:
        """Milliseconds from frame to frame while the pointer goes from place to place."""
        self.tab.mouse.move(*places[0])
        if held:
            self.tab.mouse.down()
        self.tab.evaluate(FRAMES)
        for place in places[1:]:
            self.tab.mouse.move(*place)
            self.tab.evaluate("() => new Promise(requestAnimationFrame)")
        self.tab.evaluate(PAINTED)
        found = sorted(self.tab.evaluate("() => { cancelAnimationFrame(window.asked_); return window.frames_; }")[1:])
        if held:
            self.tab.mouse.up()
        return f"median {statistics.median(found):.0f} ms, the slowest of {len(found)}: {found[-1]:.0f} ms"

    def ask(self, run: str, n: int, heads: int) -> list[float]:
        """Three times from asking for n tokens to the matrix; the model is in memory before the first."""
        self.tab.goto(f"{self.base}#/attention?run={run}&text=the")
        self.tab.locator(".head").nth(heads - 1).wait_for()
        look, took = self.tab.get_by_role("button", name="Look", exact=True), []
        for k in range(3):
            self.tab.get_by_label("Text").fill(" ".join(["cat"] * (n - 3)) + " [MASK]" * (k != 1) + " cat" * (k == 1))
            took.append(self.seconds(look.click, f"() => document.querySelectorAll('.token').length > {2 * (n - 10)}"))
            self.tab.get_by_label("Text").fill("the")
            self.seconds(look.click, "() => document.querySelectorAll('.token').length < 20")
        return took


def peer(browser: Any, folder: Path, weights: np.ndarray) -> str:
    """BertViz on the same weights: from memory to the page drawn; its scripts come from the disk, not the network."""
    home = Path(os.environ.get("CLEW_PEERS", "")) / "bertviz"
    if not os.environ.get("CLEW_PEERS") or not (home / "bin" / "python").exists():
        return "BertViz: not installed (benchmarks/README.md)"
    np.save(folder / "weights.npy", weights)
    program = Path(__file__).parent / "peers" / "bertviz_page.py"
    done = subprocess.run(
        [home / "bin" / "python", program, folder / "weights.npy", folder], check=True, capture_output=True, text=True
    )  # fmt: skip
    said, found = json.loads(done.stdout), []
    for view, made in said["seconds"].items():
        tab, file = browser.new_page(viewport={"width": 1280, "height": 900}), folder / f"{view}.html"
        tab.set_default_timeout(300_000)
        tab.route(re.compile("^https:"), lambda route: route.fulfill(
            path=home / "node_modules" / SCRIPTS[route.request.url.split("/")[-1].split(".")[0]]
        ))  # fmt: skip
        begin = time.perf_counter()
        tab.goto(file.as_uri())
        tab.wait_for_function("() => document.querySelectorAll('svg path, svg line').length > 0")
        tab.evaluate(PAINTED)
        drawn = time.perf_counter() - begin
        megabytes = file.stat().st_size / 1e6
        found.append(f"{view} {made:.1f} + {drawn:.1f} = {made + drawn:.1f} s, a page of {megabytes:.0f} MB")
        tab.close()
    return f"BertViz {said['version']}, its page made + opened: {'; '.join(found)}"


def attention(browser: Any, folder: Path, address: str) -> None:
    from clew.inspect.reading import reading
    from clew.runs import Run

    watch = Watch(browser, address)
    print_times("256 tokens, 6 × 8 heads, from asking to the matrix", watch.ask("six", 256, 6 * 8), "limit 2")
    run = Run(folder / "runs" / "six")
    seen = reading(run.model(), run.preprocessor(), " ".join(["cat"] * 254))
    layers = text_layers(run.model(), seen.batch, seen.source)  # type: ignore[arg-type]
    print(peer(browser, folder, torch.stack([layer.weights for layer in layers]).numpy()), flush=True)
    print_times("512 tokens, 12 × 12 heads, from asking to the matrix", watch.ask("twelve", 510, 12 * 12))
    tab = watch.tab
    tab.get_by_label("Text").fill(" ".join(["cat"] * 508) + " [MASK]")
    watch.seconds(
        tab.get_by_role("button", name="Look", exact=True).click,
        "() => document.querySelectorAll('.token').length > 1000",
    )
    took = []
    for k in range(5, 125, 13):
        name = tab.locator(".head").nth(k).get_attribute("title").splitlines()[0]
        shown = f"() => document.querySelector('.large h2').innerText === {json.dumps(name)}"
        took.append(watch.seconds(tab.locator(".head").nth(k).click, shown))
    print_times("512 tokens, 12 × 12 heads, from one head to another", took)
    box = tab.locator(".large canvas").first.bounding_box()
    places = [(box["x"] + 20 + 9 * k, box["y"] + 20 + 7 * k) for k in range(60)]
    print(f"512 tokens: frames while the pointer moves over the matrix: {watch.frames(places)}", flush=True)
    tab.close()


def projector(browser: Any, address: str, name: str, said: str) -> None:
    watch = Watch(browser, address)
    watch.tab.evaluate("performance.clearMarks()")
    opened = watch.seconds(
        lambda: watch.tab.goto(f"{watch.base}#/project?run={name}"),
        "() => performance.getEntriesByName('clew-drawn').some((mark) => mark.detail > 50000)",
    )  # fmt: skip
    trusted = watch.seconds(lambda: None, "() => /trustworthiness [01]/.test(document.body.innerText)")
    print(f"{said}: from asking to the first paint {opened:.2f} s, trustworthiness {trusted:.2f} s later; the page: "
          f"{watch.tab.locator('p[role=status]').inner_text()}")  # fmt: skip
    box = watch.tab.locator(".cloud").bounding_box()
    places = [(box["x"] + 100 + 6 * k, box["y"] + 200 + 3 * (k % 20)) for k in range(60)]
    print(f"{said}: frames while the pointer moves over the points: {watch.frames(places)}")
    print(f"{said}: frames while the points are dragged: {watch.frames(places, held=True)}")
    watch.tab.get_by_role("radio", name="3-D").check(force=True)
    print(f"{said}, 3-D: frames while they are turned: {watch.frames(places, held=True)}", flush=True)
    watch.tab.close()


def print_times(what: str, seconds: list[float], limit: str = "") -> None:
    took = ", ".join(f"{each:.2f}" for each in seconds)
    print(f"{what}: {took} s{f' ({limit})' if limit else ''}", flush=True)


def in_the_browser(folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    text = "\n\n".join(f"the cat number {n} sat on the mat ." for n in range(200))
    trained(folder, BERT, text, name="six", width=256, heads=8, layers=6)
    trained(folder, BERT, text, name="twelve", width=192, heads=12, layers=12)
    trained(folder, WORDS, words(100_000), name="hundred-thousand", width=100)
    trained(folder, WORDS, words(1_000_000), name="million", width=32)
    page = Page(folder / "runs", Listener())
    threading.Thread(target=page.serve, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        print(f"Chromium {browser.version}, headless, drawing by software on {os.cpu_count()} processors")
        attention(browser, folder, page.listener.address)
        projector(browser, page.listener.address, "hundred-thousand", "100,000 words of 100 dimensions")
        projector(browser, page.listener.address, "million", "a million words of 32 dimensions")
        browser.close()
    page.server.should_exit = True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", action="store_true")
    arguments = parser.parse_args()
    for layers, heads in ((12, 12), (6, 8)):
        size, bits = saved(layers, heads)
        print(
            f"saved page, {TOKENS} tokens, {layers} × {heads} heads: {size:,} bytes (limit 1,000,000); {bits:.2f} bits"
        )
    print(f"first page of clew look, gzipped: {first_page():,} bytes (limit 250,000)")
    if arguments.browser:
        with tempfile.TemporaryDirectory(prefix="clew-") as temporary:
            in_the_browser(Path(temporary))
