"""What goes wrong with one peer: a word in the table, not the end of the run."""

WORDS_MOST = 100


class PeerFault(Exception):
    """A peer cannot be measured; the message stands in the table."""


def last_line(text: str) -> str:
    """Return the end of an error message, as much as a table holds."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:WORDS_MOST] if lines else "no message"
