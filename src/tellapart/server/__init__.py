"""Finished runs behind HTTP: a JSON API and a web page in one process."""
