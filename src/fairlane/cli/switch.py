"""The word ``on`` or ``off`` as an argument."""

from enum import StrEnum


class Switch(StrEnum):
    """Whether something is to hold."""

    ON = "on"
    OFF = "off"
