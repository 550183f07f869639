"""Pairs for `imdb-dpo.toml`: a language model goes on with each prompt twice, and a classifier says which it prefers.

python recipes/preferences/pairs.py runs/imdb-gpt runs/imdb-sentiment 1 pairs.jsonl prompts.txt
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from clew.tasks.steering import Reward, RewardSource, decoded, prompts, roll_out

from clew.config import SampleConfig, build
from clew.runs import Run
from clew.runs.folder import lend

PROMPT, WRITTEN, PAIRS, HELD_OUT = 8, 24, 1500, 500


def main(writer: str, judge: str, label: str, out: str, held_out: str) -> None:
    task, model, tokenizer = lend(writer)
    model.eval()
    source = build("data", Run.open(writer).recipe.data)
    reward = Reward(lend(judge), RewardSource(run=judge, label=label))
    asked = prompts(task.documents(source.split("train"), tokenizer), PROMPT)[:PAIRS]
    texts = []
    for seed in (1, 2):
        text, _ = roll_out(model, asked, WRITTEN, tokenizer.eos_id, SampleConfig(seed=seed))
        texts.append(decoded(tokenizer, text))
    starts, scores = tokenizer.decode(asked.tolist()), [reward(each) for each in texts]
    with Path(out).open("w") as file:
        for start, a, b, first, second in zip(starts, *texts, *scores, strict=True):
            if first != second:
                better, worse = (a, b) if first > second else (b, a)
                pair = {"prompt": start, "chosen": better[len(start) :], "rejected": worse[len(start) :]}
                file.write(json.dumps(pair) + "\n")
    kept = prompts(task.documents(source.split("valid"), tokenizer), 2 * PROMPT)[:HELD_OUT]
    Path(held_out).write_text("\n".join(" ".join(t.split()) for t in tokenizer.decode(kept.tolist())) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
