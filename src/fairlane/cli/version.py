"""``fairlane version``."""

from fairlane import __version__
from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson
from fairlane.cli.output import print_json

commands = Commands()


@commands.command(epilog="Example: fairlane version --json")
def version(*, as_json: AsJson = False) -> None:
    """Print the version of fairlane."""
    if as_json:
        print_json({"version": __version__})
    else:
        print(__version__)
