"""The command line: parse, call, print. The only part of Gambeson that writes to disk on its own account."""

import signal
import sys
import threading
from types import FrameType

import typer
from rich.console import Console

from gambeson import __version__
from gambeson.allocator import keep_freed_memory
from gambeson.cli import attack, certify, check, predict, prepare, publish, quickstart, sweep, verify
from gambeson.errors import RunError, UserError, out_of_memory

GO_ON = {"train", "attack", "certify", "quickstart", "sweep"}  # commands that do not begin anew
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Train, attack, certify and doubt robust image classifiers; one report whose every figure has its table.",
)
data = typer.Typer(no_args_is_help=True, help="Data sets.")
app.add_typer(data, name="data")
app.command()(quickstart.quickstart)
app.command()(prepare.train)
app.command()(sweep.sweep)
app.command()(prepare.ensemble)
app.command()(attack.attack)
app.command()(certify.certify)
app.command()(check.check)
app.command()(verify.verify)
app.command()(predict.predict)
app.command()(publish.report)
app.command()(publish.export)
app.command("list")(prepare.show)
data.command("fetch")(prepare.fetch)


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Exit status 0 done, 1 a run failed, 2 the user's mistake, 130 Ctrl-C, 143 SIGTERM; one clear line, never a
    traceback.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    keep_freed_memory()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except UserError as error:
        _fail(console, error)
        sys.exit(2)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        _fail(console, f"{error.filename}: {error.strerror}; name a folder that is one, or does not exist yet")
        sys.exit(2)
    except OSError as error:
        _fail(
            console,
            f"{error.strerror or error}: {error.filename or 'while writing'}; what is recorded is kept: make room or "
            "allow it, and give the same command again",
        )
        sys.exit(1)
    except RunError as error:
        _fail(console, error)
        sys.exit(1)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        _fail(
            console,
            f"{str(error) or 'out of memory'}; what is recorded is kept: free memory and give the same command again, "
            "or begin another evaluation with a smaller --batch",
        )
        sys.exit(1)
    except KeyboardInterrupt:  # another one, while the first was being passed on
        _stopped(console)
        sys.exit(INTERRUPTED)
    except SystemExit as leaving:  # how typer passes a Ctrl-C on
        if leaving.code in (INTERRUPTED, TERMINATED):
            _stopped(console)
        raise


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM leaves like Ctrl-C: through every cleaning up, what is recorded complete."""
    sys.exit(TERMINATED)


def _stopped(console: Console) -> None:
    goes_on = ", and the same command goes on from there" * bool(GO_ON.intersection(sys.argv[1:2]))
    console.print(f"stopped; what is recorded is kept{goes_on}")


def _fail(console: Console, error: BaseException | str) -> None:
    console.print("error:", style="bold red", end=" ")
    console.print(" ".join(str(error).split()) or type(error).__name__, markup=False)
