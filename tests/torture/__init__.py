"""A stream of jobs under a seeded plan of faults, and its verdict: nothing lost, doubled, or out of order."""
