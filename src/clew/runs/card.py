"""The model card: README.md of a run folder, written from the run's own figures."""

from __future__ import annotations

from typing import Any

from clew.runs.folder import Run, write
from clew.runs.results import beside, metrics
from clew.train.fit import Fitted


def write_card(run: Run, results: dict[str, Any]) -> None:
    """Write README.md of a run, with its final figures."""
    recipe = run.recipe
    lines = [
        f"# {recipe.name}",
        "",
        recipe.about or f"A {recipe.model.kind} for the task {recipe.task.kind}, trained with clew.",
        "",
        f"- model: {recipe.model.kind}, {results['parameters']:,} parameters (`config.json`, `model.safetensors`)",
        f"- data: {'; '.join(results['data'])}",
        f"- training: {results['step']:,} steps, {results['tokens']:,} {run.task.unit}, "
        f"{results['epoch']:.1f} epochs, "
        f"{results['cpu_seconds'] / 60:.1f} CPU-minutes on {results['hardware']}, seed {recipe.seed}",
        f"- weights kept: {results['kept']}",
        f"- training ended: {results['ended']}",
        *(f"- {Fitted(**each)}" for each in results["fitted"]),
        *(f"- warning: {each}" for each in results["doubts"]),
        "",
        "| split | metric | value | 95% interval | signature |",
        "| --- | --- | --- | --- | --- |",
    ]
    for split, figures in results["splits"].items():
        lines += [row(split, name, figure) for name, figure in metrics(figures).items()]
    use = f"Use it: `clew predict THIS_FOLDER {run.task.asking}`. Train it again: `clew train recipe.toml`."
    lines += ["", use, ""]
    write(run.path / "README.md", "\n".join(lines))


def row(split: str, name: str, figure: dict[str, Any]) -> str:
    interval = "–" if figure["low"] is None else f"{figure['low']:.3g} – {figure['high']:.3g}"
    signature = str(figure["signature"]).replace("|", "\\|")
    return f"| {split} | {name} | {figure['value']:.4g}{beside(figure)} | {interval} | {signature} |"
