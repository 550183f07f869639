"""The command line: light to start, clear when the request is wrong."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from clew import __version__, cli
from clew.errors import DataError, NonFiniteLoss

HEAVY = {"torch", "numpy", "numba", "pydantic", "tokenizers", "transformers", "sacrebleu", "fastapi", "scipy", "rich"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Put a function in the place of the command `demo`."""

    def put(function: Callable[[], None]) -> None:
        module = ModuleType("clew.cli.demo")
        module.demo = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "clew.cli.demo", module)

    return put


def test_help_imports_nothing_heavy() -> None:
    done = run("-X", "importtime", "-m", "clew", "--help")
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert done.returncode == 0 and "typer" in imported
    assert not imported & HEAVY
    assert all(name in done.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize("request_", [
    "train nothing.toml", "compare nothing.toml", "evaluate nowhere", "predict nowhere dog", "export nowhere --to onnx",
    "look nowhere", "data nothing",
])  # fmt: skip
def test_a_wrong_request_is_answered_before_the_models_are_imported(request_: str) -> None:
    done = run("-X", "importtime", "-m", "clew", *request_.split())
    assert done.returncode == 2 and "error:" in done.stderr
    assert not any(line.split("|")[-1].strip() in ("torch", "numba") for line in done.stderr.splitlines())


def test_the_page_listens_before_the_models_are_imported() -> None:
    done = run(
        "-c",
        """
import socket, sys
from clew.web.serve import Listener
listener = Listener()
socket.create_connection(listener.socket.getsockname(), timeout=5).close()
print(listener.address, "torch" in sys.modules)
""",
    )
    assert done.returncode == 0, done.stderr
    address, imported = done.stdout.split()
    assert address.startswith("http://127.0.0.1:") and "?token=" in address and imported == "False"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_exists_and_has_help(name: str) -> None:
    assert callable(cli.load(name))
    result = CliRunner().invoke(cli.app, [name, "--help"])
    assert result.exit_code == 0 and f"{name}" in result.stdout


def test_version() -> None:
    assert CliRunner().invoke(cli.app, ["--version"]).stdout == f"clew {__version__}\n"


def test_an_unknown_command_names_the_nearest() -> None:
    result = CliRunner().invoke(cli.app, ["compere"])
    assert result.exit_code == 2 and "compare" in result.stderr


@pytest.mark.parametrize(("error", "code"), [
    (DataError("the file has no rows", where="pairs.tsv:1", fix="add rows"), 2),
    (NonFiniteLoss("the loss became NaN", where="step 3", fix="lower the rate"), 1),
])  # fmt: skip
def test_errors_are_told_on_standard_error(command: Callable[..., None], error: Exception, code: int) -> None:
    def fail() -> None:
        raise error

    command(fail)
    result = CliRunner().invoke(cli.app, ["demo"])
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr == f"error: {error}\n"


def test_an_interrupt_is_polite(command: Callable[..., None]) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    command(stop)
    result = CliRunner().invoke(cli.app, ["demo"])
    assert result.exit_code == 130 and "Traceback" not in result.stderr


def test_a_fault_shows_the_traceback_and_asks_for_a_report(
    command: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fault() -> None:
        raise ZeroDivisionError("seven by nothing")

    command(fault)
    monkeypatch.setattr(sys, "argv", ["clew", "demo"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    told = capsys.readouterr().err
    assert stopped.value.code == 1
    assert "ZeroDivisionError: seven by nothing" in told and "please report it" in told


def test_recipe_needs_a_file() -> None:
    result = CliRunner().invoke(cli.app, ["recipe"])
    assert result.exit_code == 2 and "no recipe was named" in result.stderr


def test_recipe_prints_it_filled_in(tmp_path: Path, recipe_text: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(recipe_text)
    text = CliRunner().invoke(cli.app, ["recipe", str(path), "train.batch.tokens=77"]).stdout
    assert f'name = "a"  # {path}:1' in text and "tokens = 77  # override" in text
    document = json.loads(CliRunner().invoke(cli.app, ["recipe", "--json", str(path)]).stdout)
    assert document["recipe"]["name"] == "a" and document["provenance"]["seed"] == "default"


@pytest.fixture
def recipe_text() -> str:
    choices = {"data": "grammar", "model": "transformer", "objective": "translation"}
    tables = "".join(f'[{section}]\nkind = "{kind}"\n' for section, kind in choices.items())
    return f'name = "a"\n[task]\nkind = "translate"\nsource = "en"\ntarget = "fr"\n{tables}'
