import pytest
import torch

from clew.errors import VocabularyError
from clew.nn.embedding import Embedding, check_ids


def test_equals_torch_and_names_the_id():
    table = Embedding(5, 3, padding_idx=0, name="source token")
    ids = torch.tensor([[1, 4], [0, 2]])
    assert torch.equal(table(ids), table.weight[ids])
    assert table.weight[0].eq(0).all()
    for bad in (5, -1):
        with pytest.raises(VocabularyError, match=rf"source token id {bad} is outside the embedding, which has 5 rows"):
            table(torch.tensor([[1, bad]]))


def test_other_errors_stay_themselves():
    with pytest.raises(RuntimeError):
        Embedding(5, 3)(torch.tensor([1.5]))


def test_traces_in_one_graph():
    table = Embedding(5, 3)
    compiled = torch.compile(table, fullgraph=True, backend="eager")
    ids = torch.tensor([1, 2])
    assert torch.equal(compiled(ids), table(ids))


def test_check_ids_accepts_what_fits():
    check_ids(torch.arange(5), 5, "token")
    check_ids(torch.empty(0, dtype=torch.long), 5, "token")
