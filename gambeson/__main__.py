"""`python -m gambeson` is the command `gambeson`."""

from gambeson.cli import main

main()
