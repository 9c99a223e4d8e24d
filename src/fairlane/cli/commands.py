"""How commands are declared, and how their help looks: plain names of arguments, nothing cut, one example on each line.

Used by every module of a command, and by the program itself.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

Function = TypeVar("Function", bound=Callable[..., Any])
_RANGE = re.compile(r"([\d.]+)<=x<=([\d.]+)|x>=([\d.]+)|x<=([\d.]+)")
"""How typer writes which numbers are allowed."""


class Commands(typer.Typer):
    """The commands of one module: a command by itself, or the members of a group."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(cls=CommandGroup, **attributes)

    def command(self, name: str | None = None, **attributes: Any) -> Callable[[Function], Function]:
        """Declare a command, as typer does. Its epilog is ``Example: …``, or ``Examples: …; …``."""
        return super().command(name, cls=SingleCommand, **attributes)


class _WithHelp:
    """A command whose option --help is false when it is not given, for which typer imports nothing."""

    def parse_args(self: Any, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of the command line."""
        option = self.get_help_option(ctx)
        if option is not None:
            option.default = False
        left: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]  # that of the class beside it
        return left


class SingleCommand(_WithHelp, TyperCommand):
    """A command that does something."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.short_help = first_sentence(self)  # shells show it beside the name; what is not given is cut
        for parameter in self.params:
            quicken(parameter)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the line ``Usage:`` after the command's name."""
        return [self.options_metavar or "", *(usage_of(argument) for argument in arguments_of(self))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and the options."""
        described = [(one.param_type_name, described_in(ctx, one)) for one in self.get_params(ctx)]
        for heading, kind in (("Arguments", "argument"), ("Options", "option")):
            if rows := [row for one, row in described if one == kind]:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, which are not wrapped, so that they can be copied."""
        write_examples(formatter, examples_of(self))


class CommandGroup(_WithHelp, TyperGroup):
    """A command that consists of others."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each command with its whole first sentence."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, first_sentence(command)) for name, command in self.commands.items()])


def quicken(parameter: Any) -> None:
    """Let a parameter use typer's conversion, which imports pydantic, only for a value that has to be converted."""
    convert = parameter.process_value

    def value_of(ctx: Any, value: Any) -> Any:
        if value is None and not (parameter.required or parameter.multiple or parameter.nargs != 1):
            return None
        wanted = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
        if type(value) is wanted:  # a text, or a default
            return value
        if wanted == list[str] and value:
            return list(value)
        return convert(ctx, value)

    parameter.process_value = value_of


def arguments_of(command: Any) -> list[TyperArgument]:
    """Return the arguments of a command, in their order."""
    return [one for one in command.params if isinstance(one, TyperArgument)]


def argument_name(argument: TyperArgument) -> str:
    """Return the name of an argument in the help, such as ``ORGANIZATION`` or ``TASK...``."""
    name = argument.metavar or str(argument.name).upper()
    return f"{name}..." if argument.nargs != 1 else name


def described_in(ctx: Any, parameter: Any) -> tuple[str, str]:
    """Return an argument or option as it is typed, and what the help says of it."""
    name, meaning = parameter.get_help_record(ctx)
    if isinstance(parameter, TyperArgument):
        name = argument_name(parameter)
    return name, _RANGE.sub(_range_in_words, meaning)


def _range_in_words(found: re.Match[str]) -> str:
    least, most, least_alone, most_alone = found.groups()
    if most is not None:
        return f"from {least} to {most}"
    return f"at least {least_alone}" if least_alone is not None else f"at most {most_alone}"


def usage_of(argument: TyperArgument) -> str:
    """Return an argument as it is typed; one that may be missing is in brackets."""
    name = argument_name(argument)
    return name if argument.required else f"[{name}]"


def examples_of(command: Any) -> list[str]:
    """Return the examples of a command."""
    examples = (command.epilog or "").partition(": ")[2]
    return examples.split("; ") if examples else []


def write_examples(formatter: Any, examples: list[str]) -> None:
    """Write command lines below a heading."""
    if examples:
        with formatter.section("Examples" if len(examples) > 1 else "Example"):
            for example in examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


def first_sentence(command: Any) -> str:
    """Return the first sentence of a command's help."""
    return str(command.get_short_help_str(1_000))
