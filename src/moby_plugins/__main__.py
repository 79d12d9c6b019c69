"""``python -m moby_plugins``: the command line."""

from moby_plugins.cli import main

if __name__ == "__main__":
    main()
