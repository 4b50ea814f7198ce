"""Where problems come from, how they are prompted, how an answer is extracted and verified."""

from artifact.tasks.base import Context, Messages, Task, get_task, register, task_names
from artifact.tasks.prompts import encode_prompt
from artifact.tasks.slices import load_problems

__all__ = [
    "ArtifactError",
    "Context",
    "Messages",
    "Task",
    "encode_prompt",
    "get_task",
    "load_problems",
    "register",
    "task_names",
]
