"""How fast OptLab is, next to a bare PyTorch loop and the usual pipeline, on one machine."""
