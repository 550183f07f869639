"""Studies go on after any interruption, survive a failing variant, and run side by side."""

import itertools
import json
import sys
import textwrap

import pytest
import study_fakes
from study_fakes import STEPS, read_json, recipe, train

from clew.errors import NonFiniteLoss
from clew.study import compare as module
from clew.study.compare import compare
from clew.study.plan import Plan, make_plan

KEY = "model.attention.score"


def plan(folder, seeds: int = 1, **changes) -> Plan:
    return make_plan([recipe(**changes)], {KEY: ["none", "additive", "cosine"]}, seeds, folder)


def test_every_variant_and_seed_is_trained_and_shown(tmp_path) -> None:
    events = list(compare(plan(tmp_path, seeds=2), train=train))
    finished = [event for event in events if event.state == "finished"]
    assert [(event.number, event.total) for event in finished] == [(n, 6) for n in range(1, 7)]
    assert len(events) == 6 * (STEPS + 1)
    assert (events[0].step, events[0].loss, events[0].done) == (1, 5.0, 1 / STEPS)
    for run in plan(tmp_path, seeds=2).runs:
        assert read_json(run.folder / "results.json") == study_fakes.results(run.recipe)


@pytest.mark.parametrize("killed_after", [0, 1, 5, STEPS, STEPS + 1, STEPS + 4])
def test_a_killed_study_goes_on_where_it_was(tmp_path, killed_after: int) -> None:
    for _ in itertools.islice(compare(plan(tmp_path), train=train), killed_after):
        pass
    events = list(compare(plan(tmp_path), train=train))
    assert [event.state for event in events].count("finished") == 3
    for run in plan(tmp_path).runs:
        steps = [line["step"] for line in study_fakes.Run(run.folder).metrics()]
        assert steps == [step for step in range(1, STEPS + 1) for _ in range(2)]


def test_a_finished_study_trains_nothing_again(tmp_path) -> None:
    list(compare(plan(tmp_path), train=train))
    assert [event.state for event in compare(plan(tmp_path), train=train)] == ["finished"] * 3


def test_a_failed_variant_stops_no_other_and_is_tried_again(tmp_path) -> None:
    events = list(compare(plan(tmp_path, about="cosine fails"), train=train))
    ends = {event.run.variant.id: event for event in events if event.state != "running"}
    assert {id: end.state for id, end in ends.items()} == {
        "none": "finished",
        "additive": "finished",
        "cosine": "failed",
    }
    assert "the loss became nan" in ends["cosine"].error
    failure = plan(tmp_path).runs[2].failure
    assert failure.read_text() == str(NonFiniteLoss("the loss became nan", where="step 3"))

    def healed(recipe, folder, *, resume):
        return train(recipe.model_copy(update={"about": ""}), folder, resume=resume)

    list(compare(plan(tmp_path, about="cosine fails"), train=healed))
    assert not failure.exists()


def test_an_unforeseen_error_is_reported_with_its_traceback_and_ctrl_c_stops(tmp_path) -> None:
    def broken(recipe, folder, *, resume):
        if recipe.model.attention.score == "none":
            raise ZeroDivisionError("of all things")
        if recipe.model.attention.score == "cosine":
            raise KeyboardInterrupt
        return train(recipe, folder, resume=resume)

    seen = []
    with pytest.raises(KeyboardInterrupt):
        for event in compare(plan(tmp_path), train=broken):
            seen.append(event)
    assert seen[0].state == "failed"
    assert "ZeroDivisionError: of all things" in seen[0].error
    assert seen[-1].state == "finished"


PROGRAM = """
    import json, sys, time
    from pathlib import Path
    recipe, out, folder, resume = sys.argv[1:]
    assert (out, resume) == ("--out", "--resume")
    folder, text = Path(folder), Path(recipe).read_text()
    folder.mkdir(exist_ok=True)
    with (folder / "metrics.jsonl").open("a") as file:
        row = {"step": 7, "loss": 1.25, "epoch": 4, "tokens": 9, "cpu_seconds": 2, "wall_seconds": 3}
        print(json.dumps(row), file=file)
        print('{"step": 8, "lo', end="", file=file)
    if 'score = "cosine"' in text:
        sys.exit("no cosine today")
    started = folder.parent.parent / "started"
    started.mkdir(exist_ok=True)
    (started / folder.parent.name).touch()
    while len(list(started.iterdir())) < 2:  # ends only if another one runs at the same time
        time.sleep(0.01)
    time.sleep(0.2)
    (folder / "results.json").write_text("{}")
"""


def test_side_by_side(tmp_path, monkeypatch) -> None:
    program = tmp_path / "train.py"
    program.write_text(textwrap.dedent(PROGRAM))
    monkeypatch.setattr(module, "COMMAND", [sys.executable, str(program)])
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)
    events = list(compare(plan(tmp_path), jobs=2))
    ends = {event.run.variant.id: event for event in events if event.state != "running"}
    assert {id: end.state for id, end in ends.items()} == {
        "none": "finished",
        "additive": "finished",
        "cosine": "failed",
    }
    assert "no cosine today\n(exit code 1" in ends["cosine"].error
    assert ("running", 7, 1.25, 0.4) in {(event.state, event.step, event.loss, event.done) for event in events}


def test_how_much_of_a_budget_of_work_is_used(tmp_path) -> None:
    run = plan(tmp_path, train={"budget": {"flops": 200}}).runs[0]
    run.folder.mkdir(parents=True)
    row = {"step": 7, "loss": 1.25, "epoch": 4, "tokens": 9, "cpu_seconds": 2, "wall_seconds": 3, "flops": 50}
    (run.folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    assert module._standing(run) == {"step": 7, "loss": 1.25, "done": 0.25}


def test_trainings_side_by_side_end_with_the_study(tmp_path, monkeypatch) -> None:
    program = tmp_path / "train.py"
    program.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(module, "COMMAND", [sys.executable, str(program)])
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)
    started = []
    start = module._start
    monkeypatch.setattr(module, "_start", lambda run: started.append(start(run)) or started[-1])
    events = compare(plan(tmp_path), jobs=2)
    next(events)
    events.close()
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        ("the loss became nan\n  where: step 3\n  fix:   lower it", "the loss became nan"),
        (
            "Traceback (most recent call last):\n  File x\nZeroDivisionError: of all things\n",
            "ZeroDivisionError: of all things",
        ),
        ("step 3 …\nerror: no such file\n  where: here\n(exit code 2; all of it in x.log)", "no such file"),
        ("\n".join(f"line {n}" for n in range(20)) + "\nKilled\n(exit code -9; all of it in x.log)", "Killed"),
    ],
)
def test_one_line_says_why(failure: str, line: str) -> None:
    assert module.reason(failure) == line
