"""How fast OptLab is, beside a bare PyTorch loop and the usual pipeline, on one machine."""
