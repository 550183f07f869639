"""`clew export`: write a run for another program."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Target(StrEnum):
    ctranslate2 = "ctranslate2"
    word2vec = "word2vec"
    text = "text"
    glove = "glove"
    fasttext = "fasttext"
    safetensors = "safetensors"


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
) -> None:
    """Write a run for another program.

    A translator for CTranslate2, a C++ engine; word vectors as word2vec's binary or text file (gensim, spaCy, …), as
    GloVe's text, as fastText's .bin (with the n-grams) or as safetensors.
    """
    from clew.errors import RecipeError
    from clew.runs import Run

    opened = Run.open(run)
    model = opened.model()
    embeds = hasattr(model, "vectors")
    if embeds != (to in VECTORS):
        kind = opened.recipe.model.kind
        able = ", ".join(VECTORS) if embeds else Target.ctranslate2
        raise RecipeError(f"a {kind} cannot be written as {to}", where="--to", fix=f"for this run: {able}")
    if to in VECTORS:
        from clew.hub.vectors import save_vectors

        form, name = VECTORS[to]
        place = out or run / name
        save_vectors(model.vectors(), place, format=form)  # type: ignore[operator]
    else:
        from clew.hub.ctranslate2 import export as write

        place = out or run / to.value
        write(model, opened.tokenizers(), place, quantization=quantization)
    typer.echo(f"{to.value}: {place}")
