"""Benchmarks of the shim, beside one another in one run and behind a gate of correctness. Knows the shim; the shim knows nothing of it."""
