"""Pairs for `imdb-dpo.toml`: a language model goes on with each prompt twice, and a classifier says which it prefers.

python recipes/preferences/pairs.py runs/imdb-gpt runs/imdb-sentiment 1 pairs.jsonl prompts.txt
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from clew.config import build
from clew.objectives.rewards import RewardOfTexts, RewardSource, decoded
from clew.runs import Run
from clew.runs.folder import open_run
from clew.tasks.rollouts import prompts

PROMPT, WRITTEN, PAIRS, HELD_OUT = 8, 24, 1500, 500


def main(model: str, classifier: str, label: str, out: str, held_out: str) -> None:
    writes = open_run(model)
    task, tokenizer = writes.task, writes.preprocessor
    source = build("data", Run.open(model).recipe.data)
    reward = RewardOfTexts(open_run(classifier), RewardSource(run=classifier, label=label))
    asked = prompts(task.documents(source.split("train"), tokenizer), PROMPT)[:PAIRS]
    texts = [decoded(tokenizer, task.roll_out(writes.model, tokenizer, asked, WRITTEN, seed)[0]) for seed in (1, 2)]
    starts, scores = tokenizer.decode(asked.tolist()), [reward(each) for each in texts]
    with Path(out).open("w", encoding="utf-8") as file:
        for start, a, b, first, second in zip(starts, *texts, *scores, strict=True):
            if first != second:
                better, worse = (a, b) if first > second else (b, a)
                pair = {"prompt": start, "chosen": better[len(start) :], "rejected": worse[len(start) :]}
                file.write(json.dumps(pair) + "\n")
    kept = prompts(task.documents(source.split("valid"), tokenizer), 2 * PROMPT)[:HELD_OUT]
    lines = [" ".join(text.split()) for text in tokenizer.decode(kept.tolist())]
    Path(held_out).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
