"""The `wavtext` command: a table of subcommands, and what a user sees when one fails."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from wavtext import __version__
from wavtext.errors import WavtextError

# Command -> (where it lives, its line in --help).  A test compares each line with the command's
# own.
COMMANDS: dict[str, tuple[str, str]] = {
    "index": ("wavtext.cli.index:index", "Make a folder of sounds searchable."),
    "search": ("wavtext.cli.search:search", "Find sounds by describing them."),
    "similar": ("wavtext.cli.search:similar", "Find sounds that sound like a file."),
    "adapt": ("wavtext.cli.adapt:adapt", "Learn the words of a library's own names."),
    "duplicates": ("wavtext.cli.library:duplicates", "Find sounds that sound the same."),
    "library": ("wavtext.cli.library:library", "Look after a library: stats, check, repair."),
    "export": ("wavtext.cli.library:export", "Write a library's embeddings to a file."),
    "embed": ("wavtext.cli.embed:embed", "Embed sounds into Parquet files, on many machines."),
    "serve": ("wavtext.cli.serve:serve", "Search in a browser, and over HTTP."),
    "describe": ("wavtext.cli.describe:describe", "Find the captions that fit a sound."),
    "classify": ("wavtext.cli.classify:classify", "Say which of a few names fits a sound."),
    "evaluate": (
        "wavtext.cli.evaluate:evaluate",
        "Measure how well a model finds the clips of a manifest.",
    ),
    "collect": ("wavtext.cli.collect:collect", "Gather sounds and captions into a manifest."),
    "corpus": ("wavtext.cli.corpus:corpus", "Describe, check and pack collections of clips."),
    "convert": ("wavtext.cli.convert:convert", "Make a model folder of a published checkpoint."),
    "push": ("wavtext.cli.push:push", "Put a model folder on the Hugging Face hub."),
    "train": ("wavtext.cli.train:train", "Train a model from a manifest of sounds and captions."),
    "experiment": (
        "wavtext.cli.experiment:experiment",
        "Train and score the rows of one of the paper's tables.",
    ),
}


class LazyGroup(click.Group):
    """A click group that imports a subcommand only when it is run or asked for help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table, which is the order a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand; None when there is no such name."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        return getattr(import_module(module), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wavtext")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def wavtext(debug: bool) -> None:
    """Find sounds by describing them; train and evaluate the models that do it."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: one line on stderr for an error a user can act on."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    try:
        if any("hf:" in argument for argument in arguments):  # fetched on its first use
            from wavtext.cli.convert import convert_named

            convert_named(arguments)
        status = wavtext.main(arguments, prog_name="wavtext", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo(
            "Interrupted. What was finished is kept; run the command again to go on.", err=True
        )
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except WavtextError as error:
        if debug:
            raise
        click.echo(f"wavtext: {error}", err=True)
        sys.exit(1)
