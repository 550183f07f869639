"""Checkpoints as transformers writes them, read as runs: every head, older spellings, shards; and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from clew.cli import app
from clew.config import TokenizerConfig
from clew.data.batches import Texts
from clew.errors import ClewError
from clew.hub.transformers_folder import Checkpoint
from clew.inputs import Tokens
from clew.models.heads import with_head
from clew.runs import Run
from clew.runs.imported import import_checkpoint
from clew.text.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers", reason="needs the package transformers")

TEXTS = ["the cat sat on the mat", "a dog ran", "the bird flew over a big red house"]
SIZES = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 128, "layer_norm_eps": 1e-12,
}  # fmt: skip


@pytest.fixture(scope="module")
def vocabulary() -> Tokenizer:
    return Tokenizer.train(TEXTS * 3, TokenizerConfig(kind="wordpiece", vocab_size=70, lowercase=True))


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    found = Checkpoint.find(folder)
    return found.adapter.state(found)


def start_from(model: Any, folder: Path) -> str:
    found = Checkpoint.find(folder)
    return found.adapter.start(model, found.tensors, found.settings, str(folder))


def checkpoint(folder: Path, tokenizer: Tokenizer, architecture: str, **settings: Any) -> Any:
    """A model with random weights as transformers saves it, with `vocab.txt`."""
    torch.manual_seed(2)
    config = transformers.BertConfig(vocab_size=len(tokenizer), **SIZES, **settings)
    model = getattr(transformers, architecture)(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokens = sorted(tokenizer.inner.get_vocab().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("\n".join(token for token, _ in tokens) + "\n")
    return model


@pytest.fixture
def place(tmp_path: Path, vocabulary: Tokenizer) -> Path:
    checkpoint(tmp_path / "theirs", vocabulary, "BertForPreTraining")
    return tmp_path


HEADS = {
    "BertForPreTraining": ("pretrain", {}), "BertForMaskedLM": ("pretrain", {}),
    "BertForSequenceClassification": ("classify", {"id2label": {0: "bad", 1: "good", 2: "so-so"}}),
    "BertForTokenClassification": ("tag", {"num_labels": 4}), "BertForMultipleChoice": ("choose", {}),
    "BertForQuestionAnswering": ("answer", {}),
}  # fmt: skip


@pytest.mark.parametrize("architecture", HEADS)
@torch.no_grad()
def test_a_checkpoint_becomes_a_run(tmp_path: Path, vocabulary: Tokenizer, architecture: str) -> None:
    kind, settings = HEADS[architecture]
    theirs = checkpoint(tmp_path / "theirs", vocabulary, architecture, **settings)
    done = CliRunner().invoke(app, ["import", str(tmp_path / "theirs"), "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    run = Run.open(tmp_path / "run")
    assert run.recipe.task.kind == kind and f"for the task {kind}" in done.output
    again, info = type(theirs).from_pretrained(run.path, output_loading_info=True)  # and it is theirs again
    assert not any(info.values()), info
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in theirs.state_dict().items())
    assert vocabulary.encode(TEXTS) == Tokenizer.from_folder(run.path).encode(TEXTS)


def test_a_classifier_keeps_its_labels(tmp_path: Path, vocabulary: Tokenizer) -> None:
    architecture = "BertForSequenceClassification"
    checkpoint(tmp_path / "theirs", vocabulary, architecture, id2label={0: "no", 1: "yes"})
    run = import_checkpoint(str(tmp_path / "theirs"), tmp_path / "run", ["task.pair=b"])
    line = f"{TEXTS[0]}\t{TEXTS[1]}"
    (ours,) = run.task.predict(run.model(), run.preprocessor(), [line], run.recipe.decode)
    theirs = transformers.pipeline("text-classification", model=str(run.path), device="cpu")
    (said,) = theirs([{"text": TEXTS[0], "text_pair": TEXTS[1]}])
    assert ours.text == said["label"] and ours.score == pytest.approx(said["score"], abs=1e-5)


def test_one_output_is_a_regression(tmp_path: Path, vocabulary: Tokenizer) -> None:
    checkpoint(tmp_path / "theirs", vocabulary, "BertForSequenceClassification", num_labels=1)
    run = import_checkpoint(str(tmp_path / "theirs"), tmp_path / "run")
    assert run.recipe.task.kind == "regress"
    assert json.loads((run.path / "config.json").read_text())["problem_type"] == "regression"


def test_a_classifier_of_many_labels_is_refused(tmp_path: Path, vocabulary: Tokenizer) -> None:
    checkpoint(tmp_path / "hf", vocabulary, "BertForSequenceClassification", num_labels=3,
               problem_type="multi_label_classification")  # fmt: skip
    with pytest.raises(ClewError, match="any number of labels"):
        import_checkpoint(tmp_path / "hf", tmp_path / "run")


def test_tags_as_the_pipeline_gives_them(tmp_path: Path, vocabulary: Tokenizer) -> None:
    checkpoint(tmp_path / "theirs", vocabulary, "BertForTokenClassification", num_labels=5)
    run = import_checkpoint(str(tmp_path / "theirs"), tmp_path / "run")
    (ours,) = run.task.predict(run.model(), run.preprocessor(), [TEXTS[2]], run.recipe.decode)
    tagger = transformers.pipeline(
        "token-classification", model=str(run.path), aggregation_strategy="first", device="cpu", ignore_labels=[]
    )
    model, tokenizer = tagger.model, tagger.tokenizer
    encoding = tokenizer(TEXTS[2].split(), is_split_into_words=True, return_tensors="pt")
    first = [encoding.word_ids().index(i) for i in range(len(TEXTS[2].split()))]
    best = model(**encoding).logits[0, first].argmax(-1).tolist()
    assert ours.text.split() == [model.config.id2label[i] for i in best]


@torch.no_grad()
def test_the_same_logits_from_older_files(place: Path) -> None:
    """LayerNorm.gamma and .beta, buffers, tied copies, and a file of half precision and of shards."""
    folder = place / "theirs"
    whole = load_file(folder / "model.safetensors")
    expected = state_of(folder)
    old = {name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): whole[name] for name in whole}
    old["bert.embeddings.position_ids"] = torch.arange(128)[None]
    old["cls.predictions.decoder.weight"] = whole["bert.embeddings.word_embeddings.weight"].clone()
    old["cls.predictions.decoder.bias"] = old.pop("cls.predictions.bias")
    names = sorted(old)
    (folder / "model.safetensors").unlink()
    files = {name: f"model-0000{1 + (i > 9)}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: old[name].clone() for name in names if files[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    found = Checkpoint.find(folder)
    state = state_of(folder)
    assert found.adapter.stated(state, {}, "") == "BertForPreTraining"
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


@torch.no_grad()
def test_an_encoder_alone(tmp_path: Path, vocabulary: Tokenizer) -> None:
    theirs = checkpoint(tmp_path / "theirs", vocabulary, "BertModel")
    with pytest.raises(ClewError, match=r"an encoder without a head(.|\n)*model\.start"):
        import_checkpoint(str(tmp_path / "theirs"), tmp_path / "run")
    model = with_head("classify", Checkpoint.find(tmp_path / "theirs").config, Tokens(len(vocabulary)), 2).eval()
    said = start_from(model, tmp_path / "theirs")
    assert said == f"encoder and pooler from {tmp_path / 'theirs'}; begun anew: output"
    ids = [[vocabulary.cls_id, *row, vocabulary.sep_id] for row in vocabulary.encode(TEXTS)]
    batch = Texts(ids, [0] * 3).batch(range(3), pad_id=0)
    pooled = theirs(input_ids=batch.text, attention_mask=batch.mask.long(), token_type_ids=batch.segment).pooler_output
    torch.testing.assert_close(model.pooler(model.encoder(batch).pooled), pooled, atol=1e-5, rtol=1e-5)


def test_what_a_start_takes(place: Path, vocabulary: Tokenizer) -> None:
    config, n = Checkpoint.find(place / "theirs").config, len(vocabulary)
    assert start_from(with_head("masked_lm", config, Tokens(n), 2), place / "theirs").startswith(
        "encoder and pooler and masked_lm and next_sentence from"
    )
    assert start_from(with_head("tag", config, Tokens(n), 3), place / "theirs").endswith("begun anew: output")
    wide = config.model_copy(update={"d_ff": 30})
    with pytest.raises(
        ClewError, match=r"sizes differ: bert.encoder.layer.0.intermediate.dense.weight \[24, 16\], not"
    ):
        start_from(with_head("tag", wide, Tokens(n), 3), place / "theirs")
    with pytest.raises(ClewError, match=r"word_embeddings.weight .*(.|\n)*the tokenizer of what you start from"):
        start_from(with_head("tag", config, Tokens(n + 1), 3), place / "theirs")


def leave_out(folder: Path, *names: str) -> None:
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({n: value for n, value in settings.items() if n not in names}))


@torch.no_grad()
def test_settings_that_are_left_out_are_those_of_transformers(place: Path) -> None:
    """Also the family, where the architecture tells it, as in the oldest files."""
    folder, whole = place / "theirs", Checkpoint.find(place / "theirs").config
    leave_out(folder, "layer_norm_eps", "type_vocab_size", "hidden_dropout_prob", "attention_probs_dropout_prob")
    leave_out(folder, "model_type")
    assert Checkpoint.find(folder).config == whole
    import_checkpoint(folder, place / "run")
    leave_out(folder, "architectures")
    with pytest.raises(ClewError, match="does not say of which family"):
        import_checkpoint(folder, place / "other")


FAMILIES = {
    "bert": transformers.BertConfig, "roberta": transformers.RobertaConfig, "gpt2": transformers.GPT2Config,
    "llama": transformers.LlamaConfig, "t5": transformers.T5Config,
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    whole = FAMILIES[family]().to_dict()
    rewritten = tmp_path / "config.json"
    rewritten.write_text(json.dumps(whole))
    expected = Checkpoint.find(tmp_path).config
    rewritten.write_text(json.dumps({"model_type": family}))
    found = Checkpoint.find(tmp_path)
    assert found.config == expected and found.adapter.layout.defaults["vocab_size"] == whole["vocab_size"]


def test_rows_behind_the_vocabulary_are_padding(place: Path, vocabulary: Tokenizer) -> None:
    theirs = transformers.BertForPreTraining.from_pretrained(place / "theirs").eval()
    with torch.no_grad():
        theirs.resize_token_embeddings(len(vocabulary) + 7)
        theirs.save_pretrained(place / "theirs")
        run = import_checkpoint(place / "theirs", place / "run")
        ids = [[vocabulary.cls_id, *vocabulary.encode(TEXTS)[0], vocabulary.sep_id]]
        expected = theirs(torch.tensor(ids)).prediction_logits[0, :, : len(vocabulary)]
        again = transformers.BertForPreTraining.from_pretrained(run.path).eval()
        torch.testing.assert_close(again(torch.tensor(ids)).prediction_logits[0], expected)


def rewrite(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def drop(folder: Path, name: str) -> None:
    state = load_file(folder / "model.safetensors")
    state.pop(name)
    save_file(state, folder / "model.safetensors")


def add(folder: Path, name: str, tensor: torch.Tensor) -> None:
    save_file(load_file(folder / "model.safetensors") | {name: tensor}, folder / "model.safetensors")


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"anything")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


FAULTS = {
    "no folder": (shutil.rmtree, "there is no such folder"),
    "no config": (lambda at: (at / "config.json").unlink(), "config.json cannot be read"),
    "config cut": (lambda at: cut(at / "config.json"), "config.json cannot be read"),
    "another family": (lambda at: rewrite(at, model_type="electra"), 'model_type is "electra"'),
    "another activation": (lambda at: rewrite(at, hidden_act="relu"), 'hidden_act is "relu" there(.|\n)*"gelu"'),
    "relative": (lambda at: rewrite(at, position_embedding_type="relative_key"), "position_embedding_type"),
    "heads do not fit": (lambda at: rewrite(at, num_attention_heads=3), "d_model 16 is not a multiple of n_heads 3"),
    "a lying size": (lambda at: rewrite(at, intermediate_size=25), r"sizes differ: .*intermediate.* \[24, 16\], not"),
    "a lying depth": (lambda at: rewrite(at, num_hidden_layers=3), "missing: bert.encoder.layer.2.attention.self"),
    "too few layers": (lambda at: rewrite(at, num_hidden_layers=1), "no place in the model: bert.encoder.layer.1"),
    "a lying vocabulary": (lambda at: rewrite(at, vocab_size=9), "the tokenizer has .* tokens, the model 9"),
    "a missing tensor": (lambda at: drop(at, "cls.seq_relationship.bias"), "missing: cls.seq_relationship.bias"),
    "an unknown one": (lambda at: add(at, "adapter.weight", torch.ones(2)), "no tensor of .* is called adapter"),
    "untied": (
        lambda at: add(at, "cls.predictions.decoder.bias", torch.ones(2)), "is not cls.predictions.bias, of which",
    ),
    "weights cut": (lambda at: cut(at / "model.safetensors"), "these weights cannot be read"),
    "a pickle": (pickled, r"pickled, and a pickle can run any code(.|\n)*save_pretrained"),
    "no weights": (lambda at: (at / "model.safetensors").unlink(), "there is no model.safetensors"),
    "no vocabulary": (lambda at: (at / "vocab.txt").unlink(), "there is no tokenizer here"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_folders_are_explained(place: Path, fault: str) -> None:
    damage, said = FAULTS[fault]
    damage(place / "theirs")
    with pytest.raises(ClewError, match=said):
        import_checkpoint(str(place / "theirs"), place / "run")
    assert not (place / "run" / "recipe.toml").exists()


def test_the_hub_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(ClewError, match=r"neither a folder nor a model that the hub gives: no network"):
        import_checkpoint("someone/some-bert", tmp_path / "run")


def test_a_run_is_not_written_over(place: Path) -> None:
    import_checkpoint(str(place / "theirs"), place / "run")
    with pytest.raises(ClewError, match="already holds a run"):
        import_checkpoint(str(place / "theirs"), place / "run")
