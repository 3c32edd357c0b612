"""One self-contained page of a run, a training or a measurement."""
