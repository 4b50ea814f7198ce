"""Errors a user can act on. The command line prints their message without a traceback.

Each message names the value, where it came from, and what to do.
"""

from __future__ import annotations


class ArtifactError(RuntimeError):
    """Base of the errors raised for a reason the user can remove."""


class ConfigError(ArtifactError, ValueError):
    """A configuration value or key is not valid; the message names it, its origin and the remedy."""


class StaleEngine(ArtifactError):
    """A rollout engine does not hold the student's weights: rollouts would be off-policy without anybody knowing."""


class NonFinite(ArtifactError):
    """A loss or gradient is NaN or infinite; the message names step, component and problems."""


class Mismatch(ArtifactError):
    """Two models, files or datasets that must agree do not."""


class ActorTimeout(ArtifactError):
    """An actor did not answer within its deadline."""


class ActorDied(ArtifactError):
    """The process of an actor ended while somebody waited for it."""


class EmptyDataset(ArtifactError):
    """A stage was given nothing to work on."""


class ModelAbsent(ArtifactError, FileNotFoundError):
    """A model is neither a folder on this machine nor to be had from the hub."""


class BrokenModel(ArtifactError):
    """A model's files are damaged, incomplete, contradict one another, or could be read only by running code."""
