"""The usual PyTorch tutorial: a bidirectional GRU, Bahdanau attention, a loop over words, 128 sentences a batch."""

from __future__ import annotations

import random

import common
import torch
from common import Ids, Job, Meter, chunks, measure_decoding, pad, read_job, unsupported
from torch import Tensor, nn


class Encoder(nn.Module):
    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, common.D_MODEL)
        self.rnn = nn.GRU(common.D_MODEL, common.D_MODEL // 2, bidirectional=True)
        self.to_decoder = nn.Linear(common.D_MODEL, common.D_MODEL)
        self.dropout = nn.Dropout(common.DROPOUT)

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:  # source: (time, batch)
        embedded = self.dropout(self.embedding(source))
        packed = nn.utils.rnn.pack_padded_sequence(embedded, lengths, enforce_sorted=False)
        states, last = self.rnn(packed)
        states, _ = nn.utils.rnn.pad_packed_sequence(states)
        return states, torch.tanh(self.to_decoder(torch.cat((last[-2], last[-1]), 1)))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.energy = nn.Linear(2 * common.D_MODEL, common.D_MODEL)
        self.score = nn.Linear(common.D_MODEL, 1, bias=False)

    def forward(self, hidden: Tensor, states: Tensor, mask: Tensor) -> Tensor:  # states: (time, batch, d)
        repeated = hidden.unsqueeze(1).repeat(1, len(states), 1)
        energy = torch.tanh(self.energy(torch.cat((repeated, states.permute(1, 0, 2)), 2)))
        return self.score(energy).squeeze(2).masked_fill(~mask, -1e10).softmax(1)


class Decoder(nn.Module):
    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, common.D_MODEL)
        self.attention = Attention()
        self.rnn = nn.GRU(2 * common.D_MODEL, common.D_MODEL)
        self.output = nn.Linear(3 * common.D_MODEL, vocab_size)
        self.dropout = nn.Dropout(common.DROPOUT)

    def forward(self, word: Tensor, hidden: Tensor, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        embedded = self.dropout(self.embedding(word.unsqueeze(0)))
        weights = self.attention(hidden, states, mask).unsqueeze(1)
        context = torch.bmm(weights, states.permute(1, 0, 2)).permute(1, 0, 2)
        out, hidden = self.rnn(torch.cat((embedded, context), 2), hidden.unsqueeze(0))
        return self.output(torch.cat((out[0], context[0], embedded[0]), 1)), hidden[0]


class Seq2Seq(nn.Module):
    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.vocab_size = Encoder(vocab_size), Decoder(vocab_size), vocab_size

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Logits of every target word, written one step at a time with the true previous word."""
        logits = torch.zeros(len(target), target.shape[1], self.vocab_size)
        states, hidden = self.encoder(source, lengths)
        mask = (source != common.PAD).T
        for t in range(1, len(target)):
            logits[t], hidden = self.decoder(target[t - 1], hidden, states, mask)
        return logits


def train(job: Job) -> None:
    source, target = job.pairs("train")
    rows = list(range(len(source)))
    random.Random(1).shuffle(rows)
    model = Seq2Seq(job.vocab_size).train()
    optimizer = torch.optim.Adam(model.parameters())
    loss_function = nn.CrossEntropyLoss(ignore_index=common.PAD)
    meter = Meter(job)
    for batch in (rows[i : i + 128] for i in range(0, len(rows), 128)):
        x = pad([[common.BOS, *source[i], common.EOS] for i in batch]).T
        y = pad([[common.BOS, *target[i], common.EOS] for i in batch]).T
        lengths = torch.tensor([len(source[i]) + 2 for i in batch])
        meter.count(y[1:].ne(common.PAD).sum(), y[1:].numel())
        optimizer.zero_grad()
        logits = model(x, lengths, y)
        loss = loss_function(logits[1:].flatten(0, 1), y[1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), common.CLIP_NORM)
        optimizer.step()


def decode(job: Job) -> None:
    job.modes = tuple(mode for mode in job.modes if mode != "beam")
    model = Seq2Seq(job.vocab_size).eval()

    @torch.no_grad()
    def translate(sentences: Ids, beam: int, batch_size: int) -> Ids:
        outputs: Ids = []
        for batch in chunks(sentences, batch_size):
            source = pad([[common.BOS, *ids, common.EOS] for ids in batch]).T
            states, hidden = model.encoder(source, torch.tensor([len(ids) + 2 for ids in batch]))
            mask, word, written = (source != common.PAD).T, torch.full((len(batch),), common.BOS), []
            for _ in range(common.FORCED_LENGTH):
                logits, hidden = model.decoder(word, hidden, states, mask)
                word = logits.argmax(1)
                written.append(word)
            outputs += torch.stack(written, 1).tolist()
        return outputs

    measure_decoding(job, translate)


if __name__ == "__main__":
    job = read_job()
    if job.job == "train" or job.precision != "fp32":
        unsupported("a GRU in fp32 only")
    (decode if job.job == "decode" else train)(job)
