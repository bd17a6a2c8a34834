"""The verbs as plain typed functions: llmkit's Python API, and what its commands call. The only room that wires parts.

llmkit.finetune("recipe.yaml")
model = llmkit.load("runs/news-001")
model.summarize(["a long text"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmkit.api.measuring import Evaluation, baselines_record, evaluate_model, score_files
    from llmkit.api.options import generation_options, schema
    from llmkit.api.plotting import Plotted, plot
    from llmkit.api.pretraining import pretrain
    from llmkit.api.texts import read_texts
    from llmkit.api.training import Begun, Finetuned, count_devices, finetune
    from llmkit.api.using import Model, load
    from llmkit.evaluation.comparing import Comparison
    from llmkit.training.progress import Evaluated, Saved, StepResult

_PLACES = {
    "llmkit.api.measuring": ("Evaluation", "baselines_record", "evaluate_model", "score_files"),
    "llmkit.api.options": ("generation_options", "schema"),
    "llmkit.api.plotting": ("Plotted", "plot"),
    "llmkit.api.pretraining": ("pretrain",),
    "llmkit.api.texts": ("read_texts",),
    "llmkit.api.training": ("Begun", "Finetuned", "count_devices", "finetune"),
    "llmkit.api.using": ("Model", "load"),
    "llmkit.evaluation.comparing": ("Comparison",),
    "llmkit.training.progress": ("Evaluated", "Saved", "StepResult"),
}
__all__ = [
    "Begun",
    "Comparison",
    "Evaluated",
    "Evaluation",
    "Finetuned",
    "Model",
    "Plotted",
    "Saved",
    "StepResult",
    "baselines_record",
    "count_devices",
    "evaluate_model",
    "finetune",
    "generation_options",
    "load",
    "plot",
    "pretrain",
    "read_texts",
    "schema",
    "score_files",
]


def __getattr__(name: str) -> Any:
    """Each verb is imported when it is first used: a mistake in a recipe is told before torch is loaded."""
    from importlib import import_module

    for place, names in _PLACES.items():
        if name in names:
            return getattr(import_module(place), name)
    raise AttributeError(f"module 'llmkit.api' has no attribute {name!r}")
