"""`python -m pacsbridge` is the command line."""

from pacsbridge.cli import main

if __name__ == "__main__":
    main()
