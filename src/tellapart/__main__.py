"""`python -m tellapart`: the command line, where its script is not on the path."""

from tellapart.cli.main import main

main()
