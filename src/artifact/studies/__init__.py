"""Run matrix, cached runs, tidy tables, and what a tier would cost before it is run."""
