"""The site: one folder that opens from disk and leads from every number to the runs, and from a run to its rollouts."""
