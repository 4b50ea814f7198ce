"""Statistics: one kind of interval, one bootstrap, and what is measured with them."""
