"""`llmkit push`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli.messages import print_note
from llmkit.cli.output import one_line, shown
from llmkit.cli.tables import print_table
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.api import PushPlan


def push(
    model: Annotated[str, typer.Argument(help="A finished run or a model folder.")],
    repo_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The model's name on the Hugging Face hub.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Send without asking; needed in a pipe.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Upload a model with its card to the Hugging Face hub, after showing every file that is sent."""
    from llmkit.api import plan_push
    from llmkit.api import push as push_files

    can_ask = sys.stdin is not None and sys.stdin.isatty() and not as_json
    if not (dry_run or yes or can_ask):
        raise UsageError("there is nobody to ask before files are sent. Add --yes, or --dry-run to see what would be.")
    plan = plan_push(model, repo_id=repo_id, private=private)
    if not as_json:
        _print_plan(plan)
    if not (dry_run or yes):
        typer.confirm(f"Send these files to {repo_id}?", abort=True)
    pushed = None if dry_run else push_files(plan)
    if as_json:
        print(shown(json.dumps({**_record(plan), **({} if pushed is None else vars(pushed))}, ensure_ascii=False)))
    elif pushed is None:
        print_note("nothing was sent")
    else:
        print(f"{pushed.url}\ncommit {pushed.commit}")


COMMANDS = (push,)


def _print_plan(plan: PushPlan) -> None:
    kind = "private" if plan.private else "visible as its owner's default, if it is new"
    print(one_line(f"{plan.folder} -> {plan.repo_id} ({kind})"))
    rows = [(one_line(file.name), f"{file.bytes:,}") for file in plan.files]
    print_table(("file", "bytes"), [*rows, (f"{len(rows)} files", f"{plan.bytes:,}")])
    if plan.card == "the run":
        print("README.md is the model card, with the run's newest scores")
    elif plan.card == "none":
        print("there is no README.md, so the model has no card")
    if plan.left_out:
        print(one_line(f"not sent: {', '.join(plan.left_out[:10])}{' and more' if len(plan.left_out) > 10 else ''}"))


def _record(plan: PushPlan) -> dict[str, Any]:
    return {
        "model": plan.model,
        "folder": str(plan.folder),
        "repo_id": plan.repo_id,
        "private": plan.private,
        "files": [{"name": file.name, "bytes": file.bytes} for file in plan.files],
        "bytes": plan.bytes,
        "left_out": list(plan.left_out),
        "card": plan.card,
    }
