"""The reading side: notebooks run headless, pages, the summary, the supplement."""
