"""gensim, through its own classes in `corpus_file` mode, the fastest it has: counting and training timed apart."""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version

from gensim.models import FastText, Word2Vec

parser = argparse.ArgumentParser()
parser.add_argument("--text", required=True)
parser.add_argument("--out", default="", help="vectors in word2vec's binary format; without it only words are counted")
parser.add_argument("--method", choices=("sgns", "cbow", "subword"), default="sgns")
parser.add_argument("--dim", type=int, default=100)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument(
    "--settings", type=json.loads, required=True, help="JSON: window, negatives, subsample, min_count, …"
)
args = parser.parse_args()
settings = args.settings

common = {
    "vector_size": args.dim, "window": settings["window"], "negative": settings["negatives"],
    "sample": settings["subsample"], "min_count": settings["min_count"], "alpha": settings["lr"][args.method],
    "sg": int(args.method != "cbow"), "workers": args.threads, "seed": args.seed, "epochs": args.epochs,
}  # fmt: skip
if args.method == "subword":
    ngrams = {"min_n": settings["min_n"], "max_n": settings["max_n"], "bucket": settings["buckets"]}
    model = FastText(**common, **ngrams)
else:
    model = Word2Vec(**common)

cpu = time.process_time()
model.build_vocab(corpus_file=args.text)
figures = {"vocabulary_seconds": time.process_time() - cpu, "words": len(model.wv)}
if args.out:
    cpu, wall = time.process_time(), time.perf_counter()
    model.train(
        corpus_file=args.text, total_words=model.corpus_total_words, total_examples=model.corpus_count,
        epochs=args.epochs,
    )  # fmt: skip
    figures |= {"train_cpu_seconds": time.process_time() - cpu, "train_wall_seconds": time.perf_counter() - wall}
    model.wv.save_word2vec_format(args.out, binary=True)
print("RESULT " + json.dumps({**figures, "version": version("gensim")}))
