"""The tasks, by name. A new one is one file with a `Task` and one line here."""

from ..errors import InputError
from .itm import ImageTextMatching
from .task import Row, Rows, Task
from .vgd import VisualGrounding
from .vqa import VisualQuestionAnswering

TASKS: dict[str, Task] = {
    task.name: task for task in (VisualQuestionAnswering(), VisualGrounding(), ImageTextMatching())
}


def get_task(name: str) -> Task:
    if name not in TASKS:
        raise InputError(f"unknown task {name!r}; known: {', '.join(TASKS)}")
    return TASKS[name]


__all__ = ["TASKS", "Row", "Rows", "Task", "get_task"]
