"""One run: built from its config, checked before it starts, trained, tested, recorded."""
