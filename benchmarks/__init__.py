"""Measurements, side by side in one run: `make bench` runs them all and writes docs/benchmarks.md.

A module here with a function `measure(rounds) -> Iterator[Table]` is a measurement, and is found by its being here.
"""
