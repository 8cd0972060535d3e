"""Problems of settings that can't be used, in words."""

from __future__ import annotations

from executor_worker.errors import ConfigError, ExecutorError


class ConfigErrors(ExecutorError):
    """
    Settings can't be used; exit status 78.

    Attributes:
        problems: One for each variable that is wrong.
    """

    def __init__(self, problems: list[ConfigError]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
