"""Many runs: side by side on this machine, skipped where done, judged when the last one ends."""
