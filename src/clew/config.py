"""Recipes: frozen pydantic models; `recipe_file.py` reads them from TOML with `extends` and `key=value` overrides.

A recipe names a `kind` for every choice. `KINDS` says which class each kind stands for; a user may also write
`kind = "mypackage.file:Class"`. Classes are imported when a recipe that uses them is read, never before.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, field_validator, model_validator

from clew.errors import RecipeError

# The family table: section → kind → "module:Class". A new model, task or objective adds one line here.
# Every class named here carries its own config class as the attribute `Config`.
KINDS: dict[str, dict[str, str]] = {
    "task": {
        "translate": "clew.tasks.translate:Translate",
        "embed": "clew.tasks.embed:Embed",
        "classify": "clew.tasks.classify:Classify",
        "regress": "clew.tasks.regress:Regress",
        "tag": "clew.tasks.tag:Tag",
        "choose": "clew.tasks.choose:Choose",
        "answer": "clew.tasks.answer:Answer",
        "denoise": "clew.tasks.denoise:Denoise",
        "text_to_text": "clew.tasks.text_to_text:TextToText",
        "pretrain": "clew.tasks.pretrain:Pretrain",
        "language_model": "clew.tasks.language_model:LanguageModeling",
        "reward_model": "clew.tasks.reward_model:RewardModeling",
        "preference": "clew.tasks.preference:Preference",
        "ppo": "clew.tasks.ppo:PPOTask",
        "ask": "clew.tasks.ask:Ask",
    },
    "data": {
        "catalogue": "clew.data.catalogue:Catalogue",
        "text": "clew.data.text:RunningText",
        "files": "clew.data.files:Files",
        "hub": "clew.data.hub:Hub",
        "mixture": "clew.data.mixture:Mixture",
        "grammar": "clew.data.grammar:Grammar",
        "image_folder": "clew.data.image_folder:ImageFolder",
    },
    "model": {
        "word2vec": "clew.models.word2vec:Word2Vec",
        "glove": "clew.models.glove:GloVe",
        "seq2seq": "clew.models.seq2seq:Seq2Seq",
        "transformer": "clew.models.transformer:Transformer",
        "text_classifier": "clew.models.text_classifier:TextClassifier",
        "linear": "clew.models.linear:Linear",
        "fasttext": "clew.models.fasttext:FastText",
        "t5": "clew.models.t5:T5",
        "encoder_translator": "clew.models.encoder_translator:EncoderTranslator",
        "bert": "clew.models.bert:Bert",
        "roberta": "clew.models.roberta:Roberta",
        "gpt2": "clew.models.gpt2:GPT2",
        "llama": "clew.models.llama:Llama",
        "lstm": "clew.models.lstm:LSTM",
        "cnn": "clew.models.cnn:CNN",
    },
    "objective": {
        "negative_sampling": "clew.objectives.negative_sampling:NegativeSampling",
        "hierarchical_softmax": "clew.objectives.hierarchical_softmax:HierarchicalSoftmax",
        "glove": "clew.objectives.glove:WeightedLeastSquares",
        "translation": "clew.objectives.translation:Translation",
        "classification": "clew.objectives.classification:Classification",
        "distillation": "clew.objectives.distillation:Distillation",
        "bag_classification": "clew.objectives.bag_classification:BagClassification",
        "logistic_regression": "clew.objectives.logistic_regression:LogisticRegression",
        "regression": "clew.objectives.regression:Regression",
        "span": "clew.objectives.span:Span",
        "masked_lm": "clew.objectives.masked_lm:MaskedLM",
        "language_model": "clew.objectives.language_model:LanguageModel",
        "reward": "clew.objectives.reward:Reward",
        "dpo": "clew.objectives.dpo:DPO",
        "ipo": "clew.objectives.dpo:IPO",
        "ppo": "clew.objectives.ppo:PPO",
    },
    "initialiser": {
        "published": "clew.train.initialiser:Published",
        "token_statistics": "clew.train.initialiser:TokenStatistics",
    },
    "optimizer": {
        "adamw": "clew.train.optim:AdamW",
        "adam": "clew.train.optim:Adam",
        "sgd": "clew.train.optim:SGD",
        "adagrad": "clew.train.optim:AdaGrad",
        "adafactor": "clew.train.optim:Adafactor",
        "muon": "clew.train.optim:Muon",
    },
    "tuning": {
        "full": "clew.train.tuning:Full",
        "frozen": "clew.train.tuning:Frozen",
        "gradual": "clew.train.tuning:Gradual",
        "layerwise": "clew.train.tuning:Layerwise",
        "lora": "clew.train.tuning:LoRA",
    },
    "schedule": {
        "constant": "clew.train.schedule:Constant",
        "inverse_sqrt": "clew.train.schedule:InverseSqrt",
        "linear": "clew.train.schedule:Linear",
        "cosine": "clew.train.schedule:Cosine",
        "one_cycle": "clew.train.schedule:OneCycle",
    },
}


# What kinds were called before, so that older recipes and run folders open.
FORMER_KINDS: dict[str, dict[str, str]] = {
    "task": {"write": "language_model", "judge": "reward_model", "prefer": "preference", "steer": "ppo"},
}

MOST_LAYERS, MOST_WIDE = 200, 100_000_000
_NUMBERS = {int, float, type(None)}


class Config(BaseModel):
    """Base of every settings class: frozen, and extra keys are errors.

    TOML has no null, so a setting that may be None, yet defaults to something else, must be a number (see `_none`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _none(cls, values: Any) -> Any:
        """Read "none" as None where a number may be left out, and "a,b" as a list where one is wanted."""
        if not isinstance(values, dict):
            return values
        optional = {n for n, f in cls.model_fields.items() if {type(None)} < {*get_args(f.annotation)} <= _NUMBERS}
        lists = {n for n, f in cls.model_fields.items() if get_origin(f.annotation) is tuple}
        values = {key: None if value == "none" and key in optional else value for key, value in values.items()}
        return {
            key: [*map(str.strip, value.split(","))] if key in lists and isinstance(value, str) else value
            for key, value in values.items()
        }

    @property
    def starts_from(self) -> str:
        """The run or file of word vectors that these settings begin with; "" where they begin at random."""
        return ""


class Choice(Config):
    """Settings of something that a recipe chooses by `kind`."""

    kind: str

    @classmethod
    def published(cls) -> dict[str, dict[str, Any]]:
        """Return the settings that each value of its key `size` stands for; nothing where it has no such key."""
        return {}

    # What else a recipe says where it names this kind and leaves the rest open: section → settings, "train" by tables.
    brings: ClassVar[Mapping[str, Any]] = {}

    @property
    def stratum(self) -> str | None:
        """Of a task: the column whose values a fair sample of rows has in the same shares, its labels; None: none."""
        return None

    @property
    def starts(self) -> dict[str, str]:
        """What each of its parts that begins with word vectors takes them from, by the part's name."""
        return {name: part.starts_from for name, part in self if isinstance(part, Config) and part.starts_from}


class TaskConfig(Choice):
    """Settings of a task, of any kind."""

    quality: str = ""  # the figure to choose weights and compare by; "": the task's own (bleu, accuracy, …)


def today(section: str, kind: str) -> str:
    """Return what a kind is called today."""
    return FORMER_KINDS.get(section, {}).get(kind, kind)


def load_class(target: str) -> Any:
    """Return the class that "module:Class" names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


_received: ContextVar[bool] = ContextVar("received", default=False)
_trusted: ContextVar[bool] = ContextVar("trusted", default=False)
_imported: set[str] = set()  # every "module:Class" that was resolved; to name one again runs nothing new


@contextmanager
def trusting() -> Iterator[None]:
    """Within the block, import whatever classes run folders name: what `--trust` does."""
    token = _trusted.set(True)
    try:
        yield
    finally:
        _trusted.reset(token)


def trusted() -> bool:
    """Return whether run folders may name any class."""
    return _trusted.get()


@contextmanager
def reading_received() -> Iterator[None]:
    """Within the block, `resolve` imports no class from outside of clew, but within `trusting`.

    A run folder may come from anywhere, and what its recipe names would run here. What a recipe of the user's own has
    named in this process is imported already, and stays known.
    """
    token = _received.set(True)
    try:
        yield
    finally:
        _received.reset(token)


def resolve(section: str, kind: str) -> Any:
    """Return the class that `kind` stands for in `section` of a recipe.

    Raises RecipeError where the kind is unknown (with the nearest known one), cannot be imported, or is a class from
    outside of clew that a run folder names (`reading_received`).
    """
    kind = today(section, kind)
    target = KINDS[section].get(kind, kind)
    if ":" not in target:
        near = difflib.get_close_matches(kind, KINDS[section], n=1)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        known = ", ".join(KINDS[section])
        raise RecipeError(
            f'unknown {section} kind "{kind}"',
            where=f"{section}.kind",
            fix=f'{hint}known: {known}, or "package.module:Class"',
        )
    if _received.get() and kind not in KINDS[section] and target not in _imported and not trusted():
        raise RecipeError(
            f'this run names a class from outside of clew, "{target}", which would be imported',
            where=f"{section}.kind", fix="where you trust who made this run, add --trust",
        )  # fmt: skip
    try:
        found = load_class(target)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f'cannot load {section} kind "{kind}": {error}', where=f"{section}.kind") from error
    _imported.add(target)
    return found


def build(section: str, config: Choice, *args: Any, **kwargs: Any) -> Any:
    """Make the object that `config` describes: `Class(config, *args, **kwargs)`."""
    return resolve(section, config.kind)(config, *args, **kwargs)


def choice_of(section: str) -> Any:
    """A field type that validates `{kind = …, …}` against the config class of that kind."""

    def validate(value: Any) -> Any:
        if isinstance(value, Choice):
            return value
        if not isinstance(value, dict) or "kind" not in value:
            raise RecipeError(f"[{section}] needs a kind", where=section, fix=f"known: {', '.join(KINDS[section])}")
        kind = today(section, value["kind"])
        return resolve(section, kind).Config.model_validate({**value, "kind": kind})

    return Annotated[SerializeAsAny[Choice], BeforeValidator(validate)]


class TokenizerConfig(Config):
    """How text becomes tokens; trained on the training split of the recipe's data."""

    kind: Literal["word", "bpe", "byte_bpe", "wordpiece", "unigram", "gpt2", "characters"] = "bpe"
    start: str = ""  # a run, or a folder or hub name that transformers loads, whose tokenizer is taken as it is
    vocab_size: int = Field(8000, ge=8)
    min_count: int = Field(1, ge=1)
    lowercase: bool = False
    punctuation: bool = True  # punctuation marks are tokens of their own; false: only spaces part words
    letters: bool = False  # of word vectors, instead of `punctuation`: marks part words and are dropped
    joint: bool = True  # one vocabulary for source and target
    max_examples: int | None = None  # train the tokenizer on at most so many rows


class BudgetConfig(Config):
    """When training ends: at the first of these limits. Time is CPU time, so that a busy machine changes nothing."""

    steps: int | None = Field(None, ge=1)
    epochs: float | None = Field(None, gt=0)
    tokens: int | None = Field(None, ge=1)  # target tokens
    cpu_minutes: float | None = Field(None, gt=0)
    wall_minutes: float | None = Field(None, gt=0)
    flops: float | None = Field(
        None, gt=0
    )  # 6 × non-embedding parameters × tokens read, less where some are frozen; roll-outs and references too

    @model_validator(mode="after")
    def ends(self) -> BudgetConfig:
        if all(limit is None for limit in self.model_dump().values()):
            raise ValueError("training would never end: set a limit (steps, epochs, tokens, cpu_minutes, …)")
        return self


class BatchConfig(Config):
    """How large a batch is: `tokens` (padded, of the larger side, at most), or so many `examples`."""

    tokens: int | None = Field(None, ge=1)
    examples: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def one(self) -> BatchConfig:
        if (self.tokens is None) == (self.examples is None):
            raise ValueError("a batch is of so many tokens or of so many examples: set one of the two")
        return self

    def full(self, tokens: int, examples: int) -> bool:
        """Return whether a batch of that size is over the limit."""
        return tokens > self.tokens if self.tokens else examples > (self.examples or 0)

    def shared(self, n: int) -> BatchConfig:
        """Return the size of a batch each of whose examples has n texts."""
        return BatchConfig(tokens=max(1, self.tokens // n)) if self.tokens else self

    def of_examples(self, what: str) -> int:
        """Return the examples of a batch. Raise RecipeError where it is given in tokens."""
        if self.examples is None:
            raise RecipeError(f"{what} comes in examples", where="train.batch.tokens", fix="set train.batch.examples")
        return self.examples

    def of_tokens(self, what: str) -> int:
        """Return the tokens of a batch. Raise RecipeError where it is given in examples."""
        if self.tokens is None:
            raise RecipeError(f"{what} comes in tokens", where="train.batch.examples", fix="set train.batch.tokens")
        return self.tokens


class TrainConfig(Config):
    """Everything about the training loop."""

    optimizer: choice_of("optimizer") = Field(default_factory=lambda: {"kind": "adamw"}, validate_default=True)
    schedule: choice_of("schedule") = Field(default_factory=lambda: {"kind": "inverse_sqrt"}, validate_default=True)
    tuning: choice_of("tuning") = Field(default_factory=lambda: {"kind": "full"}, validate_default=True)
    budget: BudgetConfig = BudgetConfig(epochs=10)
    batch: BatchConfig = BatchConfig(tokens=4096)
    accumulate: int = Field(1, ge=1)  # batches per optimizer step
    max_length: int = Field(256, ge=1)  # longer examples are counted and left out of training
    clip_norm: float | None = Field(1.0, gt=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    average: float | None = Field(None, gt=0, lt=1)  # decay of the exponential moving average of the weights
    evaluate_every: int | None = Field(None, ge=1)  # optimizer steps; None: once an epoch
    evaluate_examples: int = Field(500, ge=1)  # at most so many validation examples are decoded at each validation
    save_every: int | None = Field(None, ge=1)  # optimizer steps; None: at each validation
    keep: int = Field(1, ge=1)  # checkpoints kept
    patience: int | None = Field(None, ge=1)  # validations without improvement before stopping
    device: str = "auto"
    threads: int | None = Field(None, ge=0, le=4096)


class SampleConfig(Config):
    """How a language model draws the next token (see `decode/sample.py`); the defaults draw from its distribution."""

    temperature: float = Field(1.0, ge=0)  # 0 is greedy
    top_k: int | None = Field(None, ge=1)  # among so many likeliest tokens
    top_p: float | None = Field(None, gt=0, le=1)  # among the fewest that together have this probability
    min_p: float | None = Field(None, ge=0, le=1)  # among those with this share of the likeliest one's probability
    repetition_penalty: float = Field(1.0, gt=0)  # of tokens that stand in the text already; 1: none
    seed: int = 1
    stop: tuple[str, ...] = ()  # a text ends before the first of these


class DecodeConfig(Config):
    """How outputs are searched for."""

    beam: int = Field(5, ge=1, le=4096)  # 1 is greedy
    length_penalty: float = 1.0  # score = log-probability / length ** length_penalty
    max_length: int = Field(128, ge=1)
    batch_size: int = Field(64, ge=1)
    precision: Literal["fp32", "bf16", "int8"] = "fp32"
    sample: SampleConfig = SampleConfig()  # of language models, with a beam of 1


Fittable = Literal[
    "tokenizer.vocab_size", "model.d_model", "model.d_ff", "train.batch", "train.schedule.warmup",
    "train.evaluate_every", "train.patience",
]  # fmt: skip
"""The keys that can be left open, to be fitted to the data and the budget (see `train/fit.py`)."""


class Recipe(Config):
    """A whole experiment. `clew recipe FILE` prints it filled in, with where each value came from."""

    name: str
    about: str = ""
    fit: tuple[
        Fittable, ...
    ] = ()  # keys to fit to the data and the budget; one that a nearer file sets leaves the list
    seed: int = 1
    task: choice_of("task")
    data: choice_of("data")
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: choice_of("model")
    objective: choice_of("objective")
    initialiser: choice_of("initialiser") = Field(default_factory=lambda: {"kind": "published"}, validate_default=True)
    train: TrainConfig = Field(default_factory=TrainConfig)
    decode: DecodeConfig = DecodeConfig()

    @field_validator("name")
    @classmethod
    def _one_folder(cls, name: str) -> str:
        """A run's folder is called so, unless another is asked for."""
        if {"", ".", ".."} & {*name.split("/")} or len(name) > 200 or re.search(r"[\\\x00-\x1f\x7f-\x9f]", name):
            raise ValueError("a name is what a folder can be called: no .., no control characters, 200 at most")
        return name

    @model_validator(mode="after")
    def _buildable(self) -> Self:
        """Refuse sizes that no machine has room or time for, before anything is built of them."""
        for name, value in self.model:
            most = MOST_LAYERS if name.endswith("layers") else MOST_WIDE
            if isinstance(value, int) and value > most:
                raise RecipeError(f"{value:,} is more than {most:,}", where=f"model.{name}", fix="choose a smaller one")
        return self
