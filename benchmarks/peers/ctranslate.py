"""CTranslate2: a Marian model of transformers, converted and decoded in C++."""

from __future__ import annotations

import common
import ctranslate2
from common import Ids, Job, measure_decoding, read_job, unsupported
from ctranslate2.converters.transformers import MarianMTLoader
from huggingface import marian


def convert(job: Job) -> str:
    """Convert as its own converter does, but without a tokenizer: the vocabulary is the ids as words."""
    model = marian(job.vocab_size + 1)  # the converter drops the last row, where Marian keeps <pad>
    spec = MarianMTLoader().get_model_spec(model)
    tokens = [str(i) for i in range(job.vocab_size)]
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.eos_token = spec.config.decoder_start_token = str(common.EOS)
    spec.config.unk_token = str(common.EOS + 1)
    spec.validate()
    spec.optimize(quantization={"fp32": "float32", "int8": "int8"}[job.precision])
    spec.save(str(job.work))
    return str(job.work)


def decode(job: Job) -> None:
    translator = ctranslate2.Translator(
        convert(job), device="cpu", compute_type={"fp32": "float32", "int8": "int8"}[job.precision],
        inter_threads=1, intra_threads=job.threads,
    )  # fmt: skip

    def translate(sentences: Ids, beam: int, batch_size: int) -> Ids:
        results = []
        step = (
            len(sentences) if batch_size == common.BATCH_SIZE else 1
        )  # it makes batches of 64 itself, or one call a sentence
        for start in range(0, len(sentences), step):
            texts = [[*map(str, ids), str(common.EOS)] for ids in sentences[start : start + step]]
            results += translator.translate_batch(
                texts, beam_size=beam, max_batch_size=batch_size,
                min_decoding_length=common.FORCED_LENGTH, max_decoding_length=common.FORCED_LENGTH,
            )  # fmt: skip
        return [list(map(int, result.hypotheses[0])) for result in results]

    measure_decoding(job, translate, "ctranslate2", "transformers")


if __name__ == "__main__":
    job = read_job()
    if job.job != "decode" or job.precision == "bf16":
        unsupported("decoding only, fp32 or int8 here: its bf16 needs bf16 instructions")
    decode(job)
