"""The word-vector objectives as plain loops: what the kernels must equal, draw for draw.

`blocks_of_*` replay the kernels' random draws in Python's own integers and say which words meet; `step` is one gradient
step of the equation, in float64.
"""

import math

import numpy as np

MASK = 2**64 - 1


class Random:
    """xorshift64*, Vigna 2016."""

    def __init__(self, state):
        self.x = int(state[0])

    def draw(self):
        self.x ^= self.x >> 12
        self.x ^= (self.x << 25) & MASK
        self.x ^= self.x >> 27
        return (self.x * 0x2545F4914F6CDD1D & MASK) >> 32

    def below(self, n):
        return self.draw() * n >> 32

    def negative(self, draws):
        place = self.below(len(draws.entries))
        entry = int(draws.entries[place])
        return place if self.x & 0xFFFFFFFF < entry >> 32 else entry & 0xFFFFFFFF

    def negatives(self, draws, k):
        return [self.negative(draws) for _ in range(k)]


def sentences(ids, ends, random, draws):
    """The words that subsampling leaves of each sentence."""
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        yield [int(w) for w in ids[begin:end] if random.draw() < int(draws.keep[w])]


def around(words, i, reach):
    return [words[p] for p in range(max(0, i - reach), min(len(words), i + reach + 1)) if p != i]


def blocks_sgns(ids, ends, random, draws, settings):
    """(inputs as bags of rows, outputs, y (m, n), w (m, n), pairs) of each step."""
    k = settings.negatives
    ahead = random.negatives(draws, k) if settings.share else []
    for words in sentences(ids, ends, random, draws):
        for i, centre in enumerate(words):
            if settings.share:
                drawn, ahead = ahead, random.negatives(draws, k)
            context = around(words, i, 1 + random.below(settings.window))
            for inputs in [context] if settings.share else [[c] for c in context]:
                drawn = drawn if settings.share else random.negatives(draws, k)
                y, w = np.zeros((len(inputs), 1 + k)), np.ones((len(inputs), 1 + k))
                y[:, 0], w[:, 1:] = 1, [n != centre for n in drawn]
                if inputs:
                    yield [[c] for c in inputs], [centre, *drawn], y, w, len(inputs)


def blocks_cbow(ids, ends, random, draws, settings, parts):
    k = settings.negatives
    ahead = random.negatives(draws, k)
    for words in sentences(ids, ends, random, draws):
        for i, centre in enumerate(words):
            drawn, ahead = ahead, random.negatives(draws, k)
            bag = [row for c in around(words, i, 1 + random.below(settings.window)) for row in parts[c]]
            if bag:
                y, w = np.eye(1, 1 + k), np.array([[True, *(n != centre for n in drawn)]])
                yield [bag], [centre, *drawn], y, w, 1


def blocks_subword(ids, ends, random, draws, settings, parts):
    k = settings.negatives
    ahead = random.negatives(draws, k) if settings.share else []
    for words in sentences(ids, ends, random, draws):
        for i, centre in enumerate(words):
            context = around(words, i, 1 + random.below(settings.window))
            if settings.share:
                drawn, ahead = ahead, random.negatives(draws, k)
            for targets in [context] if settings.share else [[c] for c in context]:
                drawn = drawn if settings.share else random.negatives(draws, k)
                times = [sum(n != c for c in targets) for n in drawn]
                y, w = np.array([[1] * len(targets) + [0] * k]), np.array([[1] * len(targets) + times])
                if targets:
                    yield [parts[centre]], [*targets, *drawn], y, w, len(targets)


def blocks_hierarchical(ids, ends, random, draws, settings, ways, parts):
    """`ways[word]`: (node, y) from the root to the word; parts None: skip-gram."""
    for words in sentences(ids, ends, random, draws):
        for i, centre in enumerate(words):
            context = around(words, i, 1 + random.below(settings.window))
            bags = [[c] for c in context] if parts is None else [[row for c in context for row in parts[c]]]
            if context:
                nodes, labels = zip(*ways[centre], strict=True)
                y = np.array([labels] * len(bags))
                yield bags, list(nodes), y, np.ones(y.shape), len(bags)


def step(inputs, outputs, block, lr, whole):
    """One gradient step of Σ w [log(1 + exp(h·u)) − y h·u], in place; returns the loss."""
    bags, columns, y, w, _ = block
    hidden = [inputs[bag].mean(axis=0) for bag in bags]
    d_hidden, d_outputs, loss = np.zeros((len(bags), inputs.shape[1])), np.zeros_like(outputs), 0.0
    for i, h in enumerate(hidden):
        for j, column in enumerate(columns):
            score = h @ outputs[column]
            loss += w[i, j] * (math.log1p(math.exp(score)) - y[i, j] * score)
            g = lr * w[i, j] * (y[i, j] - 1 / (1 + math.exp(-score)))
            d_hidden[i] += g * outputs[column]
            d_outputs[column] += g * h
    for bag, change in zip(bags, d_hidden, strict=True):
        for row in bag:
            inputs[row] += change if whole else change / len(bag)
    outputs += d_outputs
    return loss
