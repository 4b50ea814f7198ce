"""Figures, tables, executed notebooks, provenance stamps and the summary page."""
