"""What was asked of an actor, waited for with a deadline; what goes wrong meanwhile is told in one line.

Apart from `session.py`, which knows every kind of actor: whoever samples from a frozen model depends on no loss.
"""

from __future__ import annotations

from typing import Any

from artifact.errors import ActorDied, ActorTimeout, ArtifactError


def call(refs: Any, timeout_s: float, what: str) -> Any:
    """`ray.get` with a deadline and an error that says what was being waited for.

    Raises ActorTimeout past the deadline, ArtifactError when an actor died; an error raised *in* an actor that the
    user can act on arrives as itself.
    """
    import ray

    try:
        return ray.get(refs, timeout=timeout_s)
    except ray.exceptions.GetTimeoutError as err:
        raise ActorTimeout(
            f"{what} did not finish within {timeout_s:.0f} s; its actors are ended, so start the run again: it goes on "
            "where it was. If the work needs longer, raise cluster.step_timeout_s (or start_timeout_s)"
        ) from err
    except ray.exceptions.RayTaskError as err:
        cause: Any = err
        while isinstance(cause, ray.exceptions.RayTaskError):  # of a task whose argument is a task that failed
            cause = cause.cause
        if isinstance(cause, ArtifactError):
            raise cause from err
        if isinstance(cause, ray.exceptions.RayActorError):
            raise ActorDied(_died(what, cause)) from err
        raise
    except ray.exceptions.OutOfMemoryError as err:
        raise ActorDied(
            f"{what} failed because Ray ended a process: this machine's memory was full; close other programs, or "
            "lower cluster.lanes or cluster.engine.count, and start the run again: it goes on where it was"
        ) from err
    except ray.exceptions.RayActorError as err:
        raise ActorDied(_died(what, err)) from err


def _died(what: str, err: Exception) -> str:
    return (
        f"{what} failed because an actor died: {err}; start the run again: it goes on where it was, with new actors. "
        "If it dies again, look at free memory"
    )
