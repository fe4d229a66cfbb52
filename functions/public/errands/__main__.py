"""`python -m errands`: the command line, for an IDE that starts modules."""

from knative.cli.main import main

if __name__ == "__main__":
    main()
