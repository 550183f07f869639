"""CTranslate2: greedy generation by its C++ engine, from a converted GPT-2."""

from __future__ import annotations

import ctranslate2
import torch
from ctranslate2.specs import common_spec, transformer_spec
from decoder_common import Job, measure_writing, read_job
from transformers import AutoModelForCausalLM


def convert(job: Job) -> str:
    """The model as CTranslate2 keeps it: ids are the words of its vocabulary."""
    model = AutoModelForCausalLM.from_pretrained(job.folder)
    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        job.n_layers, job.n_heads, pre_norm=True, activation=common_spec.Activation.GELUTanh
    )
    tensors = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = tensors["transformer.wte.weight"]
    decoder.position_encodings.encodings = tensors["transformer.wpe.weight"]
    decoder.projection.weight = decoder.embeddings.weight

    def put(module, name: str, *, turned: bool = False) -> None:  # type: ignore[no-untyped-def]
        weight, bias = tensors[f"transformer.{name}.weight"], tensors[f"transformer.{name}.bias"]
        if turned:
            module.weight, module.bias = weight.T.copy(), bias
        else:
            module.gamma, module.beta = weight, bias

    put(decoder.layer_norm, "ln_f")
    for n, layer in enumerate(decoder.layer):
        put(layer.self_attention.layer_norm, f"h.{n}.ln_1")
        put(layer.self_attention.linear[0], f"h.{n}.attn.c_attn", turned=True)
        put(layer.self_attention.linear[1], f"h.{n}.attn.c_proj", turned=True)
        put(layer.ffn.layer_norm, f"h.{n}.ln_2")
        put(layer.ffn.linear_0, f"h.{n}.mlp.c_fc", turned=True)
        put(layer.ffn.linear_1, f"h.{n}.mlp.c_proj", turned=True)
    spec.register_vocabulary([*map(str, range(job.vocab_size))])
    spec.config.bos_token = spec.config.eos_token = spec.config.unk_token = "0"
    spec.validate()
    spec.optimize()
    (job.work / "model").mkdir()
    spec.save(str(job.work / "model"))
    return str(job.work / "model")


if __name__ == "__main__":
    job = read_job()
    kind = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}[job.precision]
    generator = ctranslate2.Generator(convert(job), compute_type=kind, intra_threads=job.threads)

    def tokens(prompts: torch.Tensor) -> torch.Tensor:
        found = generator.generate_batch(
            [[str(i) for i in row] for row in prompts.tolist()], max_length=job.new, min_length=job.new,
            include_prompt_in_result=False, sampling_topk=1,
        )  # fmt: skip
        return torch.tensor([result.sequences_ids[0] for result in found])

    measure_writing(job, tokens, "ctranslate2")
