"""Recipes: `extends`, overrides, provenance, errors that name file, line, key and remedy, and the round trip."""

from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew import config
from clew.config import Choice, Config, DecodeConfig, TrainConfig
from clew.errors import RecipeError
from clew.recipe_file import dump_recipe, load_recipe, parse_value
from clew.recipe_reference import reference

RECIPE = """\
name = "base"

[task]
kind = "first"

[data]
kind = "first"
size = 10

[model]
kind = "first"
size = 3
inner = {width = 4}

[objective]
kind = "first"

[train]
batch.tokens = 100

[train.optimizer]
kind = "first"
size = 5

[train.schedule]
kind = "second"

[train.tuning]
kind = "first"
"""


class Inner(Config):
    width: int = 2
    ratio: float | None = None


class First:
    class Config(Choice):
        kind: str = "first"
        size: int = 1
        inner: Inner = Inner()
        words: tuple[str, ...] = ()


class Second:
    class Config(Choice):
        kind: str = "second"
        depth: int = 7
        limit: float | None = 1.5


class Published:
    class Config(Choice):
        kind: str = "published"


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two kinds for each choice, so that these tests need no other room."""
    classes = {"first": First, "second": Second}
    known = {section: {kind: kind for kind in classes} for section in config.KINDS}
    monkeypatch.setattr(config, "KINDS", known | {"initialiser": {"published": "published"}})
    monkeypatch.setattr("clew.recipe_file.KINDS", config.KINDS)
    for module in ("clew.config", "clew.recipe_file"):
        monkeypatch.setattr(f"{module}.resolve", resolve_here)


def resolve_here(section: str, kind: str) -> type:
    classes: dict[str, type] = {"first": First, "second": Second, "published": Published}
    if kind not in classes:
        raise RecipeError(f'unknown {section} kind "{kind}"', where=f"{section}.kind")
    return classes[kind]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.toml"
    path.write_text(RECIPE)
    return path


def child(base: Path, text: str, name: str = "child.toml") -> Path:
    path = base.parent / name
    path.write_text(text)
    return path


def test_values_and_where_they_came_from(base: Path) -> None:
    path = child(base, 'extends = "base.toml"\nname = "child"\n\n[train]\nbatch_tokens = 200\n')
    recipe, provenance = load_recipe(path, ["train.clip_norm=0.5", "model.words=['a', 'b']"])
    assert (recipe.name, recipe.train.batch.tokens, recipe.train.clip_norm) == ("child", 200, 0.5)
    assert recipe.model.words == ("a", "b")
    assert provenance["name"] == f"{path}:2"
    assert provenance["train.batch.tokens"] == f"{path}:5"
    assert provenance["model.size"] == f"{base}:12"
    assert provenance["model.inner.width"] == f"{base}:13"
    assert provenance["train.clip_norm"] == provenance["model.words"] == "override"
    assert provenance["seed"] == provenance["train.budget.steps"] == "default"


def test_extends_is_relative_and_chains(base: Path) -> None:
    (base.parent / "deep").mkdir()
    child(base, 'extends = "../base.toml"\nseed = 2\n', "deep/middle.toml")
    recipe, _ = load_recipe(child(base, 'extends = "deep/middle.toml"\nname = "top"\n'))
    assert (recipe.name, recipe.seed, recipe.data.size) == ("top", 2, 10)


def test_extends_in_a_circle_is_an_error(base: Path) -> None:
    child(base, 'extends = "b.toml"\n', "a.toml")
    with pytest.raises(RecipeError, match=r"circle: a\.toml → b\.toml → a\.toml"):
        load_recipe(child(base, 'extends = "a.toml"\n', "b.toml").parent / "a.toml")


def test_another_kind_replaces_the_table_and_the_same_kind_merges(base: Path) -> None:
    recipe, _ = load_recipe(child(base, 'extends = "base.toml"\n[model]\nkind = "second"\n'))
    assert recipe.model == Second.Config()
    recipe, _ = load_recipe(child(base, 'extends = "base.toml"\n[model]\nkind = "first"\ninner = {ratio = 0.5}\n'))
    assert recipe.model == First.Config(size=3, inner=Inner(width=4, ratio=0.5))


@pytest.mark.parametrize("overrides", [["model.kind=second", "model.depth=9"], ["model.depth=9", "model.kind=second"]])
def test_overrides_may_change_the_kind_in_any_order(base: Path, overrides: list[str]) -> None:
    assert load_recipe(base, overrides)[0].model == Second.Config(depth=9)


def test_an_override_that_is_a_table_is_the_whole_table(base: Path) -> None:
    assert load_recipe(base, ['model={kind="first"}'])[0].model == First.Config()
    given = ['model={kind="first", inner={ratio=0.5}}', "model.inner.width=7"]  # what comes later is laid over it
    assert load_recipe(base, given)[0].model == First.Config(inner=Inner(width=7, ratio=0.5))


def test_tokenizer_kinds_share_their_settings(base: Path) -> None:
    path = child(base, 'extends = "base.toml"\n[tokenizer]\nkind = "bpe"\nvocab_size = 99\n')
    tokenizer = load_recipe(path, ["tokenizer.kind=word"])[0].tokenizer
    assert (tokenizer.kind, tokenizer.vocab_size) == ("word", 99)


@pytest.mark.parametrize(("text", "value"), [
    ("3", 3), ("1e-3", 1e-3), ("true", True), ('"3"', "3"), ("[1, 2]", [1, 2]), ("{a = 1}", {"a": 1}), ("", ""),
    ("de.txt", "de.txt"), ("two words", "two words"), ("2020-01-01", "2020-01-01"), ("a=b", "a=b"),
    ("1\nx = 2", "1\nx = 2"),
])  # fmt: skip
def test_an_override_is_toml_or_else_text(text: str, value: object) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize(("overrides", "parts"), [
    (["train.batch_token=3"], ['unknown key "batch_token"', "override, train.batch_token"]),
    (["train.batch.token=3"], ['did you mean "tokens"?']),
    (["model.sise=3"], ['unknown key "sise"', "override, model.sise", 'did you mean "size"?']),
    (["model.inner.widht=3"], ['unknown key "widht"', 'did you mean "width"?']),
    (["train.optimizer.sise=3"], ['did you mean "size"?']),
    (["modle.size=3"], ['unknown key "modle"', 'did you mean "model"?']),
    (["train.batch.tokens=many"], ["train.batch.tokens = 'many'", "valid integer"]),
    (["train.batch.tokens=0"], ["train.batch.tokens = 0", "greater than or equal to 1"]),
    (["train.optimizer=3"], ["[optimizer] needs a kind", "override, train.optimizer"]),
    (["train.optimizer.kind=x"], ['unknown optimizer kind "x"', "override, train.optimizer.kind"]),
    (["model.kind=third"], ['unknown model kind "third"', "override, model.kind"]),
    (["batch_tokens"], ['cannot read the override "batch_tokens"', "key.sub=value"]),
    (["seed.x=1"], ["seed = {'x': 1}"]),
    (["seed=x", "decode.beam=0"], ["seed = 'x'", "also:  decode.beam = 0"]),
])  # fmt: skip
def test_errors_say_what_where_and_remedy(base: Path, overrides: list[str], parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(base, overrides)
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_error_in_a_file_names_its_line(base: Path) -> None:
    path = child(base, 'extends = "base.toml"\n\n[train]\nbatch_tokn = 200\n')
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.where == f"{path}:4, train.batch_tokn"


def test_a_missing_key_names_the_table_that_lacks_it(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Needy(Choice):
        need: int

    monkeypatch.setattr(First, "Config", Needy)
    with pytest.raises(RecipeError, match='missing key "need"') as caught:
        load_recipe(child(base, base.read_text().replace("size", "need", 1)))
    assert caught.value.where == f"{base.parent / 'child.toml'}:4, task.need"


@pytest.mark.parametrize(("content", "message"), [
    (b"name = ", "not valid TOML"), (b"\xff\xfe", "not UTF-8"), (b"extends = 3\n", "must name one file"),
    (b'extends = "none.toml"\n', "cannot read the recipe"),
    # the defaults of a recipe name kinds that these tests do not have
    (b"[train]\n" + b"".join(b"%s.kind = 'first'\n" % key for key in (b"optimizer", b"schedule", b"tuning")),
     'missing key "name"'),
])  # fmt: skip
def test_damaged_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "damaged.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        load_recipe(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        load_recipe(tmp_path / "absent.toml")


def test_none_stands_for_no_number(base: Path) -> None:
    recipe, _ = load_recipe(base, ["train.clip_norm=none", "model.inner.ratio=none"])
    assert recipe.train.clip_norm is None
    with pytest.raises(RecipeError, match="seed = 'none'"):
        load_recipe(base, ["seed=none"])


def test_dump_reads_back_equal_and_tells_origins(base: Path) -> None:
    recipe, provenance = load_recipe(
        base, ["train.clip_norm=none", "train.budget.steps=9", "train.schedule.limit=none"]
    )
    text = dump_recipe(recipe, provenance)
    again = base.parent / "again.toml"
    again.write_text(text)
    assert load_recipe(again)[0] == recipe
    assert f"size = 3  # {base}:12" in text
    assert "steps = 9  # override" in text
    assert "# epochs: not set  # default" in text
    assert dump_recipe(load_recipe(again)[0]) == dump_recipe(recipe)


@given(
    text=st.text(st.characters(codec="utf-8")),
    words=st.lists(st.text(st.characters(codec="utf-8"))),
    rate=st.floats(min_value=1e-9, max_value=1e9),
)
def test_any_text_and_number_survives_the_round_trip(tmp_path_factory: pytest.TempPathFactory, **drawn: object) -> None:
    recipe = config.Recipe(
        name="round", about=drawn["text"], task=First.Config(),
        data=First.Config(words=drawn["words"]), model=First.Config(),
        objective=Second.Config(), train=TrainConfig(optimizer=First.Config(), schedule=Second.Config(),
        tuning=First.Config(), clip_norm=drawn["rate"]), decode=DecodeConfig(length_penalty=-1e-7),
    )  # fmt: skip
    path = tmp_path_factory.getbasetemp() / "round.toml"
    path.write_text(dump_recipe(recipe), encoding="utf-8", newline="")
    assert load_recipe(path)[0] == recipe


class TestReference:
    """docs/reference/recipe.md is what the code says."""

    page: ClassVar[Path] = Path(__file__).parent.parent / "docs" / "reference" / "recipe.md"

    @pytest.fixture(autouse=True)
    def kinds(self) -> None:
        """Here the real kinds are wanted."""

    def test_the_page_is_up_to_date(self) -> None:
        assert self.page.read_text(encoding="utf-8") == reference(), "run `make docs`"
