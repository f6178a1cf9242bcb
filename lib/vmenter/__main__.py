"""`python -m vmenter`."""

from vmenter.cli import main

main()
