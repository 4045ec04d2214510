"""Runs of the whole service under random faults from a seed, recorded, and checked afterwards against its promises.

`plan` makes one from a seed, `run` carries it out on a `system` with `writers`, `readers` and `faults`, `record` keeps
what happened, and `checker` proves the properties of docs/reliability.md over that record alone.
"""
