"""How the figures of every task are shown: their names, which way is better, what they mean."""

from __future__ import annotations

from typing import Any

Shown = dict[str, Any]
"""label, higher_is_better, digits, unit, about; split: False where it is measured on a set of its own."""


def rising(label: str, about: str, digits: int = 1, **more: Any) -> Shown:
    """A figure of which more is better."""
    return {"label": label, "higher_is_better": True, "digits": digits, "about": about, **more}


def falling(label: str, about: str, digits: int = 2, **more: Any) -> Shown:
    """A figure of which less is better."""
    return rising(label, about, digits, **more) | {"higher_is_better": False}


# In the order in which they are shown. A task that reports another figure adds its line here.
METRICS: dict[str, Shown] = {
    "bleu": rising("BLEU", "n-gram precision against the reference, 0-100"),
    "chrf": rising("chrF", "character n-gram F-score, 0-100"),
    "reward": rising("Reward", "of what the model writes, as the reward model has it", 3),
    "reward_before": rising("Reward before", "of what the reference writes after the same beginnings", 3),
    "gain": rising("Gain", "reward less reward before, beginning by beginning", 3),
    "kl": falling("KL", "nats per text that the model has moved away from the reference"),
    "reference_perplexity": falling(
        "Reference's perplexity", "of what the model writes, per token to the reference", 1
    ),
    "reference_perplexity_before": falling(
        "Reference's perplexity before", "of what the reference itself writes, per token", 1
    ),
    "perplexity": falling("Perplexity", "per token; comparable between models of one tokenizer only"),
    "perplexity_per_word": falling("Perplexity per word", "comparable between tokenizers", 1),
    "perplexity_per_byte": falling("Perplexity per byte", "comparable between tokenizers", 3),
    "loss": falling("Loss", "on the validation split, per token or answer", 3),
    "log_likelihood": rising("Log-likelihood", "of the validation text, nats per token", 3),
    "exact": rising("Exact", "outputs equal to the reference", unit="%"),
    "f1": rising("F1", "of answers: words shared with the right one; of labels: of the positive one; 0-100"),
    "f1_best_threshold": rising("F1, best threshold", "F1 with the bar for no answer where it suits best, 0-100"),
    "span_f1": rising("F1 of spans", "spans found with their borders and label, 0-100"),
    "accuracy": rising("Accuracy", "that are right: labels, answers, tokens, the better of two", unit="%"),
    "macro_f1": rising("Macro-F1", "mean over the labels of the F1 of each, 0-100"),
    "matthews": rising("Matthews", "correlation of labels with the right ones, × 100; 0 is chance"),
    "pearson": rising("Pearson", "correlation with the right numbers, × 100"),
    "spearman": rising("Spearman", "correlation of ranks with those of the right numbers, × 100"),
    "next_sentence": rising("Next sentence", "pairs told apart: the next sentence, or one from elsewhere", unit="%"),
    "mean": rising("Mean", "of the tasks' own figures"),
    "similarity": rising(
        "Similarity", "Spearman correlation of cosines with people's scores of word pairs, × 100", split=False
    ),
    "analogies": rising(
        "Analogies", "a is to b as c is to d: d found among the 30,000 most frequent words", unit="%", split=False
    ),
    "purity": rising("Noun purity", "nouns in a cluster with most of their own category", unit="%", split=False),
    "nearness": rising(
        "Nearness",
        "how often a word is closer to one beside it in validation text than to a random one; 50 is chance",
        unit="%",
    ),
    "aer": falling(
        "AER",
        "alignment error rate of the attention against gold links, 0-1; of several attention maps, the one that "
        "aligns best on validation",
        3,
    ),
}


def about(name: str) -> Shown:
    """How to show a figure; one that a task of the user's own reports is taken for better where it is higher."""
    own = rising(
        name.replace("_", " ").capitalize(), "a figure of the task's own, taken for better where it is higher", 2
    )
    return METRICS.get(name, own)
