"""Search strategies against each other at an equal budget: cells of work, their statistics, and what is reported."""
