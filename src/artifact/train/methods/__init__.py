"""Training methods: small files that turn verified groups of rollouts into weighted examples."""
