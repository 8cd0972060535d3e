"""Parameters that a model's API does not take: left out of its requests, and logged once."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from loguru import logger


class LeftOut:
    """
    Parameters found to be refused by the models of one provider, for the life of this process.

    Args:
        signs: Parameter → what in a 400's text says that this parameter is the one not taken.
    """

    def __init__(self, provider: str, signs: Mapping[str, str]) -> None:
        self._provider = provider
        self._signs = {parameter: re.compile(sign, re.IGNORECASE) for parameter, sign in signs.items()}
        self._refused: set[tuple[str, str]] = set()
        self._said: set[tuple[str, str]] = set()

    def __contains__(self, model_and_parameter: tuple[str, str]) -> bool:
        return model_and_parameter in self._refused

    def say(self, model: str, parameter: str, why: str) -> None:
        """Warn that *parameter* is not sent, the first time only."""
        if (model, parameter) in self._said:
            return
        self._said.add((model, parameter))
        told = logger.bind(provider=self._provider, model=model, parameter=parameter, reason=why)
        told.warning("model.parameter_left_out")

    def learn(self, model: str, sent: Collection[str], complaint: str) -> bool:
        """
        Find the parameter that *complaint* is about.

        Args:
            sent: The parameters that were in the request.

        Returns:
            Whether there is one that was not known before: the same request without it may succeed.
        """
        for parameter, sign in self._signs.items():
            if parameter in sent and (model, parameter) not in self._refused and sign.search(complaint):
                self._refused.add((model, parameter))
                self.say(model, parameter, "the server refused it")
                return True
        return False
