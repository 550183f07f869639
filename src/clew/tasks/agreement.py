"""What the rows that are measured have in common with those that are trained on: said before the first step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import islice

from clew.data.documents import lines
from clew.data.text import Text
from clew.errors import DataError

UNDECIDED = ("-", "-1")  # how SNLI, and copies of data sets from the Hugging Face hub, write that there is no label
SHARE = 0.01  # of the rows that are measured: fewer of them among the training rows go without saying
SHOWN = 12  # labels
LINES = 1000  # of a text are looked for, among the first so many thousand of another


def labels_agree(train: Sequence[str], others: Mapping[str, Sequence[str]], column: str) -> list[str]:
    """Return a line on the labels of the training rows, and one on each split whose labels are not all among these.

    Raise DataError where a split has none of them: nothing that is learned could be right there.
    """
    known = Counter(train)
    said = [f"labels: {listed(known)}"]
    for split, labels in others.items():
        found = Counter(labels)
        strange = Counter({label: n for label, n in found.items() if label not in known})
        if strange and len(strange) == len(found):
            raise DataError(
                f"none of the labels of the {split} rows is one of the training rows: {listed(found)}; {listed(known)}",
                where=f"column {column}", fix="write them in the same way in all files, or name them: data.labels",
            )  # fmt: skip
        if strange:
            said.append(
                f"labels of the {split} rows that no training row has, and that no answer can be: {listed(strange)}"
            )
        if lacking := [label for label in known if label not in found]:
            said.append(
                f"no {split} row has the label {', '.join(lacking[:SHOWN])}{'' if len(lacking) <= SHOWN else ' …'}"
            )
    for label in (label for label in UNDECIDED if label in known and len(known) > 2):
        said.append(
            f'"{label}" is learned as a label like the others; where it means that there is none, set '
            f'data.leave_out.{column}=["{label}"]'
        )
    return said


def listed(counts: Counter[str]) -> str:
    """Labels with their counts, the most frequent ones first."""
    shown = ", ".join(f"{label} ({n:,})" for label, n in counts.most_common(SHOWN))
    return shown if len(counts) <= SHOWN else f"{shown} and {len(counts) - SHOWN:,} more"


def shared(train: Iterable[Hashable], others: Mapping[str, Sequence[Hashable]], what: str) -> list[str]:
    """Return a line on each split of which more than a handful of inputs are training inputs too."""
    known = {hash(each) for each in train}
    said = []
    for split, inputs in others.items():
        n = sum(hash(each) in known for each in inputs)
        if n > SHARE * len(inputs):
            said.append(
                f"{n:,} of {len(inputs):,} {split} {what}s are training {what}s too: figures on them show what was "
                "learned by heart"
            )  # fmt: skip
    return said


def shared_text(train: Text, others: Mapping[str, Text]) -> list[str]:
    """Return a line on each other text that is the training text, or of which many lines are in its beginning."""
    said = []
    for split, text in others.items():
        if text.borrowed:
            continue
        if {path.resolve() for path in text.paths} & {path.resolve() for path in train.paths}:
            said.append(f"the {split} text is training text too: figures on it show what was learned by heart")
            continue
        wanted = {*islice((line.strip() for line in lines(text.paths) if line and len(line.split()) > 3), LINES)}
        there = wanted & {line.strip() for line in islice(lines(train.paths), 100 * LINES) if line}
        if len(there) > max(1, SHARE * len(wanted)):
            said.append(
                f"{len(there):,} of the first {len(wanted):,} lines of the {split} text are training text too: figures "
                "on them show what was learned by heart"
            )
    return said
