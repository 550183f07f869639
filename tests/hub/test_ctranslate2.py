"""A run written for CTranslate2 translates there as it does here."""

import pytest
import torch

from clew.config import TokenizerConfig
from clew.data.batches import pad
from clew.decode.search import Limits, search
from clew.errors import RecipeError
from clew.hub.ctranslate2 import export
from clew.inputs import TokenPair
from clew.models.encoder_translator import EncoderTranslator, EncoderTranslatorConfig
from clew.models.transformer import Transformer, TransformerConfig
from clew.text.tokenizer import Tokenizer
from clew.text.tokenizer_pair import TokenizerPair

ctranslate2 = pytest.importorskip("ctranslate2", reason="needs the package ctranslate2")


@pytest.fixture(scope="module")
def preprocessor(request):
    kind = getattr(request, "param", "word")
    tokenizer = Tokenizer.train([f"word{i}" for i in range(60)], TokenizerConfig(kind=kind, vocab_size=64))
    return TokenizerPair(tokenizer, tokenizer)


@pytest.mark.parametrize("preprocessor", ["word", "wordpiece"], indirect=True)  # they differ in the special tokens
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("beam", [1, 4])
def test_same_hypotheses_and_scores(tmp_path, preprocessor, norm, beam):
    torch.manual_seed(0)
    size = len(preprocessor.source)
    model = Transformer(
        TransformerConfig(norm=norm, d_model=32, d_ff=64, activation="gelu"), TokenPair.of(size, size)
    ).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)  # far from the uniform distribution, so that a mistake shows
    export(model, preprocessor, tmp_path)
    words = [preprocessor.source.inner.id_to_token(i) for i in range(size)]
    side = preprocessor.source
    ids = [[5 + (7 * i + 5 * j) % (size - 5) for j in range(3 + i)] for i in range(6)]
    source = pad([[*row, side.eos_id] for row in ids], 0)
    ours = search(model, source, source != 0, Limits(side.bos_id, side.eos_id, 10), beam)
    theirs = ctranslate2.Translator(str(tmp_path), intra_threads=1).translate_batch(
        [[words[i] for i in row] + [words[side.eos_id]] for row in ids],
        beam_size=beam, length_penalty=1, max_decoding_length=10, min_decoding_length=0, return_scores=True,
    )  # fmt: skip
    for (best, *_), result in zip(ours, theirs, strict=True):
        assert [words[i] for i in best.ids] == result.hypotheses[0]
        assert best.score == pytest.approx(result.scores[0], abs=1e-3)


def test_refuses_what_it_has_no_form_for(tmp_path, preprocessor):
    model = EncoderTranslator(EncoderTranslatorConfig(d_model=8, d_ff=8, n_heads=2), TokenPair.of(64, 64))
    with pytest.raises(RecipeError, match="no form for EncoderTranslator"):
        export(model, preprocessor, tmp_path)
