"""The engines that torch does not have: word-vector training in compiled loops over numpy arrays.

One file per objective, each with a `Settings` and a `train_slice(ids, ends, state, …, lr) → (summed loss, pairs)` that
moves its tables in place; `sampling.in_threads` runs one over several threads, `sampling.table` makes the tables.
Compiled code is cached on disk beside the source: it is built at the first call after an installation.
"""
