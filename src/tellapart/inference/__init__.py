"""Ask a run about many images: a stream of them in, a file of answers out, resumable."""
