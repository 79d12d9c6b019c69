"""The command line, as ``python -m moby_plugins``."""

from moby_plugins.cli import main

if __name__ == "__main__":
    main()
