"""Speed beside peers and floors: `make bench` runs all, each in a process.

Each script prints a line a figure; `python -m benchmarks.NAME` runs one.
"""
