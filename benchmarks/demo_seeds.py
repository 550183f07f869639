"""The demo's comparison over several seeds, one of them beside busy processes: does attention always find its words?

    python benchmarks/demo_seeds.py      # 5 seeds, the last beside 4 busy processes; interrupted, it goes on

Prints a Markdown table, one row for each model and seed, and says which row misses what is asked. The budget is in
tokens and every process has one thread, so the figures are the same whatever else the machine does; only the time is
not. Exits with 1 where a row misses.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from clew.cli.compare import show
from clew.cli.demo import demo_plan
from clew.runs.folder import Run
from clew.study.compare import compare
from clew.study.plan import Plan, Planned

LEAST_BLEU, MOST_AER, MOST_BLEU_WITHOUT = 80.0, 0.2, 40.0  # on held-out combinations
COLUMNS = ["model", "seed", "beside", "BLEU", "AER", "BLEU, test", "target tokens", "training CPU-s", "asked"]


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep so many processes computing beside what runs within."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def row(planned: Planned, beside: int) -> tuple[list[str], bool]:
    """The cells of one training, and whether it has what is asked."""
    results: dict[str, Any] = Run(planned.folder).results()
    held_out, test = results["splits"]["combinations"], results["splits"]["test"]
    bleu = held_out["bleu"]["value"]
    if "aer" in held_out:
        aer = held_out["aer"]["value"]
        met = bleu >= LEAST_BLEU and aer <= MOST_AER
        shown = f"{aer:.3f}"
    else:
        met, shown = bleu <= MOST_BLEU_WITHOUT, "–"
    cells = [planned.variant.label, str(planned.seed), f"{beside} busy" if beside else "–", f"{bleu:.1f}", shown]
    cells += [f"{test['bleu']['value']:.1f}", f"{results['tokens']:,}", f"{results['cpu_seconds']:.0f}"]
    return [*cells, "yes" if met else "NO"], met


def table(plan: Plan, beside: dict[int, int]) -> bool:
    """Print the rows of what has finished, model by model; return whether all of it is there and as asked."""
    print("| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS), sep="\n")
    whole = True
    for variant in plan.variants:
        for planned in (run for run in plan.runs if run.variant is variant):
            if not Run(planned.folder).finished:
                whole = False
                continue
            cells, met = row(planned, beside.get(planned.seed, 0))
            whole = whole and met
            print("| " + " | ".join(cells) + " |")
    print(
        f"\nAsked on held-out combinations: BLEU ≥ {LEAST_BLEU:.0f} and AER ≤ {MOST_AER} with attention, "
        f"BLEU ≤ {MOST_BLEU_WITHOUT:.0f} without. {os.cpu_count()} cores."
    )
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--busy", type=int, default=4, help="processes beside the last seed")
    parser.add_argument("--jobs", type=int, default=2, help="trainings side by side")
    parser.add_argument("--budget", help='of each training, instead of the preset\'s: "900ktokens"')
    parser.add_argument("--out", type=Path, default=Path("runs/demo-seeds"))
    chosen = parser.parse_args()
    plan = demo_plan(chosen.out, chosen.seeds, chosen.budget)
    *quiet, last = plan.seeds
    for seed in quiet:
        show(replace(plan, seeds=[seed]), compare(replace(plan, seeds=[seed]), jobs=chosen.jobs))
    with busy(chosen.busy):
        show(replace(plan, seeds=[last]), compare(replace(plan, seeds=[last]), jobs=chosen.jobs))
    plan.save()
    sys.exit(0 if table(plan, {last: chosen.busy}) else 1)


if __name__ == "__main__":
    main()
