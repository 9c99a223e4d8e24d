"""The word ``on`` or ``off`` as an argument."""

from enum import StrEnum


class Switch(StrEnum):
    """Whether something is on."""

    ON = "on"
    OFF = "off"
