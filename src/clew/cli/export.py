"""`clew export`: write a run for another program."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from clew.cli.say import echo
from clew.cli.trust import Trust


class Target(StrEnum):
    ctranslate2 = "ctranslate2"
    onnx = "onnx"
    sentence_transformers = "sentence-transformers"
    word2vec = "word2vec"
    text = "text"
    glove = "glove"
    fasttext = "fasttext"
    safetensors = "safetensors"
    table = "table"
    fasttext_classifier = "fasttext-classifier"


# Target → how `hub.vectors` calls the format, and the name of the file.
VECTORS = {
    Target.word2vec: ("binary", "vectors.bin"),
    Target.text: ("text", "vectors.vec"),
    Target.glove: ("glove", "vectors.txt"),
    Target.fasttext: ("fasttext", "vectors.fasttext.bin"),
    Target.safetensors: ("safetensors", "vectors.safetensors"),
}


def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[Target, typer.Option(help="The program to write for.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File or folder to write; inside the run by default.")
    ] = None,
    quantization: Annotated[
        str | None, typer.Option(help="How CTranslate2 stores weights: int8, int16, float16, …")
    ] = None,
    pooling: Annotated[
        str, typer.Option(help="For sentence-transformers, the vector of a sentence: mean or cls.")
    ] = "mean",
    trust: Trust = False,
) -> None:
    """Write a run for another program.

    A translator for CTranslate2, a C++ engine; an encoder with its head as an ONNX graph (onnxruntime, optimum), or
    without it for sentence-transformers (transformers loads the run itself); word vectors as word2vec's binary or text
    file (gensim, spaCy, …), as GloVe's text, as fastText's .bin (with the n-grams) or as safetensors; a linear model as
    a table of n-grams and their weights (.tsv), all that its scores are made of; a classifier of kind fasttext as
    fastText's .bin.
    """
    from clew.errors import RecipeError
    from clew.recipe_file import recipe_of_run

    recipe_of_run(run)  # before the models are imported
    from clew.runs import Run, manifest

    opened = Run.open(run)
    manifest.check(run)
    model: Any = opened.model()
    if to.value not in (able := model.backbone.own("exports")):
        known = ", ".join(target.value for target in Target if target.value in able) or "none"
        what = f"a {opened.recipe.model.kind} cannot be written as {to}"
        raise RecipeError(what, where="--to", fix=f"for this run: {known}")
    place = out or run / (VECTORS[to][1] if to in VECTORS else to.value)
    preprocessor, said = opened.preprocessor(), ""
    if to in VECTORS:
        from clew.hub.vectors import save_vectors

        save_vectors(model.vectors(), place, format=VECTORS[to][0])
    elif to == Target.table:
        from clew.hub.weight_table import write_table

        place = out or run / "weights.tsv"
        write_table(model, preprocessor, place)
    elif to == Target.fasttext_classifier:
        from clew.hub.fasttext_classifier import write as write_classifier

        place = out or run / "classifier.bin"
        write_classifier(model, preprocessor, place)
        said = (
            "" if preprocessor.tokenizer.config.plain else " (give it texts with their marks parted, in small letters)"
        )
    elif to == Target.onnx:
        from clew.hub import onnx

        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        said = f" (onnxruntime's logits are within {onnx.export(model, preprocessor, config, place):.0e} of the run's)"
    elif to == Target.sentence_transformers:
        from clew.hub import sentence_transformers

        sentence_transformers.export(model, preprocessor, place, pooling=pooling)
    else:
        from clew.hub.ctranslate2 import export as write

        write(model, preprocessor, place, quantization=quantization)
    echo(f"{to.value}: {place}{said}")
