"""Ray actors and what connects them: placement, rollout engines, student, teacher, reference, weight sync."""
