"""llmkit: train, measure and use small language models of the GPT-2, Llama, BERT and T5 families.

    import llmkit

    llmkit.finetune("recipe.yaml")
    for summary in llmkit.load("runs/recipe-001").summarize(["a long text"]):
        print(summary.texts[0])

The names load when they are first used: `import llmkit` alone imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmkit.api import (
        check_data,
        compare,
        describe_model,
        diagnose,
        draft_recipe,
        evaluate_model,
        explain,
        finetune,
        list_families,
        list_runs,
        load,
        merge,
        plan,
        plan_push,
        plot,
        pretrain,
        push,
        reproduce,
        score_files,
        show_data,
        write_report,
    )

__all__ = [
    "check_data",
    "compare",
    "describe_model",
    "diagnose",
    "draft_recipe",
    "evaluate_model",
    "explain",
    "finetune",
    "list_families",
    "list_runs",
    "load",
    "merge",
    "plan",
    "plan_push",
    "plot",
    "pretrain",
    "push",
    "reproduce",
    "score_files",
    "show_data",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'llmkit' has no attribute {name!r}")
    from llmkit import api

    return getattr(api, name)
