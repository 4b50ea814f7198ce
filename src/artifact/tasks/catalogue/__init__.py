"""The tasks that come with the package: every module here is found and registers its own; a new task is a new file."""
