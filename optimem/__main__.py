"""`python -m optimem` is the command line."""

from optimem.cli import main

main()
