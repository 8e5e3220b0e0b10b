"""The command line: one file per command. Parses options, calls a workflow and prints the result."""
