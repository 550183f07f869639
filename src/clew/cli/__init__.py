"""The command line. This file knows only names and one line of help, so that `clew --help` never imports torch;
the file of a command, `clew/cli/<name>.py` with a function `<name>` (`import_` for "import"), is imported when the
command is asked for."""

from __future__ import annotations

import importlib
import keyword
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from clew import __version__
from clew.cli.say import echo
from clew.errors import ClewError

# Name → what `clew --help` says of it, short enough for a line of 80.
# A new command adds one line here and one file beside this one.
COMMANDS: dict[str, str] = {
    "demo": "Compare five translators on the embedded corpus, with no data.",
    "train": "Train what a recipe describes, or on your own files.",
    "compare": "Train several recipes under equal budgets: which wins?",
    "evaluate": "Score a run on its data, or an encoder on a suite of tasks.",
    "look": "Open the browser page over a folder of runs.",
    "predict": "Run a trained model on a text, a file or standard input.",
    "data": "List the known data sets, and show what a data source holds.",
    "recipe": "Print a recipe filled in, with where each value came from.",
    "import": "Make a run of a checkpoint of transformers.",
    "export": "Write a run for another program.",
}


# What torch says when the memory of the machine, or of an accelerator, is used up.
OUT_OF_MEMORY = ("MemoryError", "can't allocate memory", "out of memory")
SMALLER = "a smaller train.batch or decode.batch_size, a smaller model; a training that saved goes on with --resume"


def load(name: str) -> Any:
    """Import the command `name` and return it ready to run."""
    written = f"{name}_" if keyword.iskeyword(name) else name
    function = getattr(importlib.import_module(f"clew.cli.{written}"), written)
    single = typer.Typer(add_completion=False, **STYLE)
    single.command(name, help=function.__doc__ or COMMANDS[name])(function)
    return typer.main.get_command(single)


def show(error: ClewError) -> None:
    """Print what was wrong, where, and what to do, on standard error."""
    typer.secho("error: ", fg="red", bold=True, err=True, nl=False)
    echo(str(error), err=True)


class Commands(TyperGroup):
    """A group that lists light stand-ins and imports a command only to run it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, stand_in, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else stand_in, rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ClewError as error:
            show(error)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as interrupt:  # whoever was at work has saved by now
            echo("\n" + "; ".join(["stopped at your request", *map(str, interrupt.args)]), err=True)
            raise typer.Exit(130) from interrupt
        except (MemoryError, RuntimeError) as error:
            if not any(each in f"{type(error)} {error}" for each in OUT_OF_MEMORY):
                raise
            show(ClewError("there is not enough memory", where=(str(error).splitlines() or [""])[-1], fix=SMALLER))
            raise typer.Exit(1) from error


# Help in plain text: rich's boxes take longer to import than all the rest.
STYLE: dict[str, Any] = {
    "context_settings": {"help_option_names": ["-h", "--help"]}, "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}  # fmt: skip
app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    **STYLE,
    help="Train, compare and look inside sequence models, from word2vec to the Transformer, on your own data.",
)


def _version(asked: bool) -> None:
    if asked:
        echo(f"clew {__version__}")
        raise typer.Exit


@app.callback()
def _main(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print it.")) -> None:
    pass


def _stand_in() -> None: ...


for _name, _help in COMMANDS.items():
    app.command(_name, help=_help)(_stand_in)


def main() -> None:
    """Run the command line; exit code 0, 1 (the work failed), 2 (the request was wrong) or 130 (interrupted)."""
    try:
        app(prog_name="clew")
    except Exception:
        traceback.print_exc()
        typer.secho("\nerror: ", fg="red", bold=True, err=True, nl=False)
        echo(
            "this is a fault in clew, not in your request.\n  fix:   please report it with the lines above, the "
            f"command, and the versions: clew {__version__}, Python {sys.version.split()[0]}",
            err=True,
        )
        sys.exit(1)
