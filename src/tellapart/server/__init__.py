"""Serve finished runs over HTTP: a JSON API and a web page in one process."""
