"""The real tree of `wavtext` commands, and whether a command line fits it.  Nothing is run."""

from collections.abc import Iterator

import click

from wavtext.cli.main import wavtext


def walk(
    command: click.Command = wavtext, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its path, groups included: ("corpus", "stats"), ..."""
    if path:
        yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from walk(child, (*path, name))


def options(command: click.Command) -> list[click.Option]:
    """Its options that are shown, without --help."""
    return [each for each in command.params if isinstance(each, click.Option) and not each.hidden]


def fault(arguments: list[str]) -> str:
    """What is wrong with `wavtext ARGUMENTS`, or nothing.

    Options must exist, values must have the right type, and the arguments must be as many as the
    command takes. Files need not exist.
    """
    command: click.Command = wavtext
    context = click.Context(command, info_name="wavtext")
    try:
        while True:
            parser = command.make_parser(context)
            if isinstance(command, click.Group):
                parser.allow_interspersed_args = False
            values, rest, _ = parser.parse_args(list(arguments))
            if {"help", "version"} & {name for name, value in values.items() if value}:
                return ""
            _check_values(command, context, values)
            if not isinstance(command, click.Group):
                return f"{rest[0]!r} is an argument too many" if rest else ""
            if not rest:
                return f"{context.command_path} needs a command"
            child = command.get_command(context, rest[0])
            if child is None:
                return f"{context.command_path} has no command {rest[0]!r}"
            context = click.Context(child, parent=context, info_name=rest[0])
            command, arguments = child, rest[1:]
    except click.ClickException as error:
        return error.format_message()


def _check_values(
    command: click.Command, context: click.Context, values: dict[str, object]
) -> None:
    for parameter in command.params:
        value = values.get(parameter.name or "")
        if value is None or (parameter.multiple and not value) or value in ((), []):
            if parameter.required:
                raise click.MissingParameter(ctx=context, param=parameter)
        elif not isinstance(parameter.type, click.Path | click.File) and isinstance(
            value, str | list | tuple
        ):
            parameter.type_cast_value(context, value)
