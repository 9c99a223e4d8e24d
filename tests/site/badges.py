"""README's badges: small pictures of facts that pyproject.toml states. ``python -m tests.site.badges`` writes them."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHARACTER = 6.6
"""Width of a character of the badges, in units of the picture."""


def badges() -> dict[str, str]:
    """Return each badge by the name of its file."""
    described = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project = described["project"]
    versions = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line]
    strict = described["tool"]["mypy"]["strict"] is True and "Typing :: Typed" in project["classifiers"]
    facts = {
        "python": f"{versions[0]} to {versions[-1]}",
        "license": project["license"],
        "types": "mypy strict" if strict else "unchecked",
    }
    return {f"badge-{name}.svg": badge(name, fact) for name, fact in facts.items()}


def badge(name: str, fact: str) -> str:
    """Return one badge."""
    left, right = (round(len(text) * CHARACTER + 16) for text in (name, fact))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{name}: {fact}" font-family="Verdana, sans-serif" font-size="11" text-anchor="middle" '
        'fill="#fff">'
        f'<rect width="{left + right}" height="20" rx="3" fill="#4a5360"/>'
        f'<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H{left}z" fill="#1f5fbf"/>'
        f'<text x="{left / 2:g}" y="14">{name}</text><text x="{left + right / 2:g}" y="14">{fact}</text></svg>\n'
    )


def main() -> None:
    """Write every badge."""
    for name, text in badges().items():
        (ROOT / "docs" / "images" / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
