"""The engine of decoding equals the equation; lower precisions stay close to it and leave the model alone."""

import pytest
import torch

from clew.decode.engine import TransformerEngine, engine
from clew.decode.int8 import Int8Linear
from clew.decode.search import Limits, search
from clew.inputs import TokenPair
from clew.models.seq2seq import Seq2Seq, Seq2SeqConfig
from clew.models.transformer import Transformer, TransformerConfig
from clew.nn.attention import MultiHeadAttention

SIZE = 60


def transformer(**settings) -> Transformer:
    torch.manual_seed(0)
    config = {"d_model": 32, "d_ff": 48, "n_heads": 4, "n_encoder_layers": 1, "n_decoder_layers": 2, **settings}
    model = Transformer(TransformerConfig(**config), TokenPair.of(SIZE, SIZE))
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.5)  # biases and norms that matter
    return model.eval()


def sources(rows: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.arange(3, 3 + rows)
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    return torch.randint(4, SIZE, mask.shape, generator=torch.Generator().manual_seed(1)) * mask, mask


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary", "none"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_step_equals_the_equation(norm: str, positions: str, activation: str) -> None:
    model = transformer(norm=norm, positions=positions, activation=activation)
    for part in model.modules():
        if isinstance(part, MultiHeadAttention):
            part.base = 50.0  # of rotary positions
    fast = engine(model, "fp32")
    assert isinstance(fast, TransformerEngine)
    beam = 3
    with torch.inference_mode():
        memory = model.encode(*sources())
        caches = model.start(memory, beam), fast.start(memory, beam)
        generator = torch.Generator().manual_seed(2)
        for step in range(6):
            tokens = torch.randint(4, SIZE, (len(memory.states) * beam,), generator=generator)
            expected, found = model.step(tokens, caches[0]), fast.step(tokens, caches[1])
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
            order = torch.arange(len(tokens)).view(-1, beam).flip(1).flatten()
            if step == 3:  # two sentences have finished
                kept = torch.tensor([0, 2, 4])
                rows = order.view(-1, beam)[kept].flatten()
                memory = memory.select(kept)
                for cache in caches:
                    cache.keep(kept, rows)
            else:
                for cache in caches:
                    cache.reorder(order)


@pytest.mark.parametrize("beam", [1, 4])
def test_search_finds_the_same(beam: int) -> None:
    model = transformer()
    limits = Limits(1, 2, 12)
    expected, found = (search(each, *sources(), limits, beam) for each in (model, engine(model, "fp32")))
    for left, right in zip(expected, found, strict=True):
        assert [h.ids for h in left] == [h.ids for h in right]
        assert [h.score for h in left] == pytest.approx([h.score for h in right], abs=1e-5)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("rows", "width", "size"), [(9, 64, 40), (1, 64, 40), (1, 67, 40), (64, 32, 5000)])
def test_int8_product_is_close(relu: bool, rows: int, width: int, size: int) -> None:
    """Whichever kernel the shape calls for."""
    torch.manual_seed(0)
    weight, bias, x = torch.randn(size, width) / 8, torch.randn(size), torch.randn(rows, width)
    exact = torch.nn.functional.linear(x, weight, bias)
    exact = exact.relu() if relu else exact
    found = Int8Linear(weight, bias, relu=relu)(x)
    assert (found - exact).abs().max() < 0.05 * exact.abs().max()
    assert not torch.equal(found, exact)


def test_lower_precisions_stay_close_and_leave_the_model_alone() -> None:
    lstm = Seq2Seq(Seq2SeqConfig(d_embedding=32, d_model=32), TokenPair.of(SIZE, SIZE)).eval()
    for model in (transformer(), transformer(activation="gelu"), lstm):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with torch.inference_mode():
            tokens = torch.full((5,), 1)
            exact = model.project(model.step(tokens, model.start(model.encode(*sources())))).softmax(-1)
            for precision, tolerance in (("int8", 0.05), ("bf16", 0.05)):
                fast = engine(model, precision)
                logits = fast.project(fast.step(tokens, fast.start(fast.encode(*sources())))).float()
                assert 0 < (logits.softmax(-1) - exact).abs().max() < tolerance, precision
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert type(model.project).__name__ == "method"
