"""``python -m fairlane``: the same command line as the ``fairlane`` script."""

from fairlane.cli import main

if __name__ == "__main__":
    main()
