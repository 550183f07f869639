"""`python -m clew` is the command `clew`."""

from clew.cli import main

main()
