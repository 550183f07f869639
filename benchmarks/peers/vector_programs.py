"""How each maker of word vectors is run: its commands for a job, and where its figures stand. Standard library only."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SETTINGS: dict[str, Any] = {
    "window": 5, "negatives": 5, "subsample": 1e-4, "min_count": 5, "min_n": 3, "max_n": 6, "buckets": 2_000_000,
    "lr": {"sgns": 0.025, "cbow": 0.05, "subword": 0.05},
    "glove": {"window": 15, "x_max": 100, "power": 0.75, "lr": 0.05},
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One measurement: the job's method and width on one text, in an empty folder."""

    method: str  # vocabulary, sgns, cbow, subword, glove
    dim: int
    text: Path
    raw_words: int  # of the text, in the vocabulary or not
    work: Path
    epochs: int
    threads: int
    seed: int
    programs: Path  # the folder of the peers

    @property
    def words_read(self) -> int:
        return self.raw_words * self.epochs


@dataclass
class Step:
    """One process. `counted` ones are the way from text to vectors; the others are run for the sake of a figure."""

    command: list[str]
    stdin: Path | None = None
    stdout: Path | None = None  # else kept as `output`
    environment: dict[str, str] = field(default_factory=dict)
    counted: bool = True
    # Filled when it has run.
    wall: float = 0.0
    cpu: float = 0.0
    peak_mb: float = 0.0
    output: str = ""


def result(step: Step) -> dict[str, Any]:
    """The line that a Python adapter prints."""
    return json.loads([line for line in step.output.splitlines() if line.startswith("RESULT ")][-1][7:])


def speeds(task: Task, cpu: float, wall: float | None = None) -> dict[str, float]:
    """Raw words, times epochs, per second of training alone."""
    found = {"words_per_cpu_second": task.words_read / cpu}
    return found | ({"words_per_second": task.words_read / wall} if wall else {})


class Clew:
    """`clew train` on a recipe; the vocabulary alone through the class that it uses."""

    vectors = "run"

    def __init__(self, share: bool = True, cold: bool = False) -> None:
        self.share, self.cold = share, cold

    def steps(self, task: Task) -> list[Step]:
        # A cold start compiles into an empty folder what later starts load.
        environment = {"NUMBA_CACHE_DIR": str(task.work / "compiled")} if self.cold else {}
        if task.method == "vocabulary":
            adapter = [str(HERE / "clew_vocabulary.py"), str(task.text), str(SETTINGS["min_count"])]
            return [Step([sys.executable, *adapter], environment=environment)]
        recipe = task.work / "recipe.toml"
        recipe.write_text(self.recipe(task))
        return [Step([sys.executable, "-m", "clew", "train", str(recipe), "--out", "run"], environment=environment)]

    def recipe(self, task: Task) -> str:
        s = SETTINGS
        lines = [
            'name = "word-vectors"', f"seed = {task.seed}", '[task]', 'kind = "embed"',
            '[data]', 'kind = "text"', f"train = [{json.dumps(str(task.text))}]",
            '[tokenizer]', 'kind = "word"', f'min_count = {s["min_count"]}', "vocab_size = 10000000",
            '[train]', "batch_tokens = 100000", f"threads = {task.threads}",
            "[train.budget]", f"epochs = {task.epochs}",
        ]  # fmt: skip
        if task.method == "glove":
            g = s["glove"]
            lines += [
                "[model]", 'kind = "glove"', f"d_model = {task.dim}",
                "[objective]", 'kind = "glove"', f'window = {g["window"]}', f'x_max = {g["x_max"]}',
                f'power = {g["power"]}',
                "[train.optimizer]", 'kind = "adagrad"', "lr = 1.0", f"initial = {1 / g['lr'] ** 2}",
                "[train.schedule]", 'kind = "constant"',
            ]  # fmt: skip
            return "\n".join(lines).replace("batch_tokens = 100000", "batch_tokens = 1000000") + "\n"
        architecture = "cbow" if task.method == "cbow" else "skipgram"
        lines += ["[model]", 'kind = "word2vec"', f'architecture = "{architecture}"', f"d_model = {task.dim}"]
        if task.method == "subword":
            lines += [f"min_n = {s['min_n']}", f"max_n = {s['max_n']}", f"buckets = {s['buckets']}"]
        lines += [
            "[objective]", 'kind = "negative_sampling"', f'window = {s["window"]}', f'negatives = {s["negatives"]}',
            f'subsample = {s["subsample"]}', f"share = {json.dumps(self.share)}",
            "[train.optimizer]", 'kind = "sgd"', f'lr = {s["lr"][task.method]}',
            "[train.schedule]", 'kind = "linear"',
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def figures(self, task: Task, steps: list[Step]) -> dict[str, float]:
        if task.method == "vocabulary":
            return {"vocabulary_seconds": result(steps[0])["vocabulary_seconds"], "words": result(steps[0])["words"]}
        results = json.loads((task.work / "run" / "results.json").read_text())
        if task.method == "glove":
            return {"epochs_cpu_seconds": results["cpu_seconds"]}
        return speeds(task, results["cpu_seconds"], results["wall_seconds"])


class Gensim:
    vectors = "vectors.bin"

    def steps(self, task: Task) -> list[Step]:
        python = str(task.programs / "gensim" / "bin" / "python")
        command = [
            python,
            str(HERE / "gensim_vectors.py"),
            "--text",
            str(task.text),
            "--settings",
            json.dumps(SETTINGS),
        ]
        if task.method != "vocabulary":
            command += [
                "--out", self.vectors, "--method", task.method, "--dim", str(task.dim), "--epochs", str(task.epochs),
                "--threads", str(task.threads), "--seed", str(task.seed),
            ]  # fmt: skip
        return [Step(command)]

    def figures(self, task: Task, steps: list[Step]) -> dict[str, float]:
        found = result(steps[0])
        if task.method == "vocabulary":
            return {"vocabulary_seconds": found["vocabulary_seconds"], "words": found["words"]}
        return speeds(task, found["train_cpu_seconds"], found["train_wall_seconds"])


class Word2VecC:
    """word2vec.c reports words in the vocabulary per CPU-second of training and how many of those the text has."""

    vectors = "vectors.bin"

    def steps(self, task: Task) -> list[Step]:
        s = SETTINGS
        program = str(task.programs / "word2vec" / "word2vec")
        if task.method == "vocabulary":  # without an output it ends when the words are counted
            return [Step([program, "-train", str(task.text), "-output", "", "-min-count", str(s["min_count"])])]
        options = {
            "train": task.text, "output": self.vectors, "size": task.dim, "window": s["window"],
            "sample": s["subsample"], "negative": s["negatives"], "hs": 0, "binary": 1,
            "cbow": int(task.method == "cbow"), "iter": task.epochs, "min-count": s["min_count"],
            "threads": task.threads, "alpha": s["lr"][task.method],
        }  # fmt: skip
        return [Step([program, *(text for name, value in options.items() for text in (f"-{name}", str(value)))])]

    def figures(self, task: Task, steps: list[Step]) -> dict[str, float]:
        output = steps[0].output
        if task.method == "vocabulary":
            return {"vocabulary_seconds": steps[0].cpu, "words": int(re.findall(r"Vocab size: (\d+)", output)[0])}
        known = int(re.findall(r"Words in train file: (\d+)", output)[0])
        rate = 1000 * float(re.findall(r"Words/thread/sec: ([\d.]+)k", output)[-1])
        return {"words_per_cpu_second": rate * task.raw_words / known}


class FastTextProgram:
    """fastText reports its speed by wall time: training is the CPU time of the run less that of a run of 0 epochs."""

    vectors = "vectors.vec"

    def steps(self, task: Task) -> list[Step]:
        s = SETTINGS
        ngrams = task.method == "subword"
        options = {
            "input": task.text, "output": "vectors", "dim": task.dim, "ws": s["window"], "t": s["subsample"],
            "neg": s["negatives"], "minCount": s["min_count"], "minn": s["min_n"] if ngrams else 0,
            "maxn": s["max_n"] if ngrams else 0, "bucket": s["buckets"] if ngrams else 0,
            "epoch": task.epochs, "thread": task.threads, "lr": s["lr"].get(task.method, 0.05),
        }  # fmt: skip
        untrained = options | {"epoch": 0, "output": "untrained"}
        if task.method == "vocabulary":
            return [self.step(task, untrained | {"dim": 1})]
        first = self.step(task, untrained)
        first.counted = False
        return [first, self.step(task, options)]

    def step(self, task: Task, options: dict[str, Any]) -> Step:
        program = str(task.programs / "fastText" / "fasttext")
        method = "cbow" if task.method == "cbow" else "skipgram"
        return Step([program, method, *(text for name, value in options.items() for text in (f"-{name}", str(value)))])

    def figures(self, task: Task, steps: list[Step]) -> dict[str, float]:
        if task.method == "vocabulary":
            words = int(re.findall(r"Number of words: +(\d+)", steps[0].output)[0])
            return {"vocabulary_seconds": steps[0].cpu, "words": words}
        untrained, trained = steps
        return speeds(task, trained.cpu - untrained.cpu)


class GloVe:
    """The reference's four programs; the last one is the epochs, with reading pairs and writing vectors."""

    vectors = "vectors.txt"

    def steps(self, task: Task) -> list[Step]:
        build, work, g = task.programs / "GloVe" / "build", task.work, SETTINGS["glove"]
        counted, pairs, shuffled = work / "vocab.txt", work / "pairs.bin", work / "shuffled.bin"
        count = [str(build / "vocab_count"), "-min-count", str(SETTINGS["min_count"]), "-verbose", "0"]
        if task.method == "vocabulary":
            return [Step(count, task.text, counted)]
        cooccur = ["-memory", "2", "-vocab-file", str(counted), "-verbose", "0", "-window-size", str(g["window"])]
        options = {
            "save-file": "vectors", "threads": task.threads, "input-file": shuffled, "x-max": g["x_max"],
            "alpha": g["power"], "eta": g["lr"], "iter": task.epochs, "vector-size": task.dim, "binary": 0,
            "vocab-file": counted, "verbose": 0, "seed": task.seed,
        }  # fmt: skip
        return [
            Step(count, task.text, counted),
            Step([str(build / "cooccur"), *cooccur], task.text, pairs),
            Step([str(build / "shuffle"), "-memory", "2", "-verbose", "0"], pairs, shuffled),
            Step([str(build / "glove"), *(text for name, x in options.items() for text in (f"-{name}", str(x)))]),
        ]

    def figures(self, task: Task, steps: list[Step]) -> dict[str, float]:
        if task.method == "vocabulary":
            with (task.work / "vocab.txt").open("rb") as file:
                return {"vocabulary_seconds": steps[0].cpu, "words": sum(1 for _ in file)}
        return {"epochs_cpu_seconds": steps[-1].cpu}
