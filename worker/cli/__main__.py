"""`python -m worker.cli`: the command line without its script, as the supervisor starts its children."""

from worker.cli import main

if __name__ == "__main__":
    main()
