"""The subject of a training that is measured: its model, recipe and seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from massact.architecture import numbers_in
from massact.errors import MeasureError


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The subject of a training, with the values of the table's axes. `Subject.of_model` makes one from a model.

    Attributes
    ----------
    architecture
        The numbers of `massact.Architecture`, as far as the model has them.
    tokens_per_step
        Training tokens per optimiser step. None: unknown.
    """

    family: str
    recipe: str
    model: str
    architecture: dict[str, Any]
    tokens_per_step: int | None
    seed: int = 0

    @classmethod
    def of_model(
        cls,
        model: Any,
        *,
        name: str,
        tokens_per_step: int | None,
        family: str = "own",
        recipe: str = "own",
        seed: int = 0,
    ) -> Subject:
        """The subject for a Hugging Face model or its configuration, with the numbers that the configuration states.

        Raises
        ------
        MeasureError
            When there is no Hugging Face configuration.

        >>> from transformers import GPT2Config
        >>> Subject.of_model(GPT2Config(n_layer=2), name="mine", tokens_per_step=4096).architecture["d_mlp"]
        3072
        """
        config = getattr(model, "config", model)
        if not hasattr(config, "to_dict"):
            raise MeasureError(
                f"{type(model).__name__} has no Hugging Face configuration", "pass the model itself, not its container"
            )
        numbers = numbers_in(config.get_text_config().to_dict())
        return cls(
            family=family, recipe=recipe, model=name, architecture=numbers, tokens_per_step=tokens_per_step, seed=seed
        )
