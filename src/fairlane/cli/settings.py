"""``fairlane settings``: what a server would be started with here, and where each value comes from."""

from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson, ConfigFile
from fairlane.cli.output import print_json
from fairlane.cli.tables import print_table
from fairlane.settings import find_settings, shown_value

commands = Commands()


@commands.command(epilog="Examples: fairlane settings; fairlane settings --config fairlane.toml --json")
def settings(*, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show the settings in force, and where each comes from.

    An option of fairlane serve overrides a variable, a variable overrides the file, and the file overrides the default.
    Keys and passwords are hidden.
    """
    found = find_settings({}, config=config)
    rows = [
        (name, getattr(found.settings, name), found.sources.get(name, "default"))
        for name in found.settings.__struct_fields__
    ]
    if as_json:
        shown = {name: value if _is_plain(value) else shown_value(name, value) for name, value, _ in rows}
        print_json({name: {"value": shown[name], "source": source} for name, _, source in rows})
        return
    print_table(
        ["SETTING", "VALUE", "FROM"],
        [(name, shown_value(name, value), source) for name, value, source in rows],
        empty="",
    )


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float)
