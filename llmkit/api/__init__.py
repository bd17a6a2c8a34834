"""The verbs as plain typed functions: llmkit's Python API, and what its commands call. The only package that uses all others.

llmkit.finetune("recipe.yaml")
model = llmkit.load("runs/news-001")
model.summarize(["a long text"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.api.aligned import results_of_rows
from llmkit.api.chats import load_conversation, save_conversation
from llmkit.api.compared_record import compared_record
from llmkit.api.comparing import Compared, ComparedSystem, compare
from llmkit.api.data_check import check_data
from llmkit.api.data_show import show_data
from llmkit.api.describing import ModelDescription, Refusal, describe_model
from llmkit.api.doctor import diagnose
from llmkit.api.drafts import Draft, draft_recipe
from llmkit.api.evaluation_result import Evaluation, evaluation_record
from llmkit.api.explaining import explain
from llmkit.api.families import FamilyDescription, list_families
from llmkit.api.gates import Gate, Gates, file_gates, gate_records, model_gates
from llmkit.api.loading import load
from llmkit.api.measuring import evaluate_model
from llmkit.api.merging import Merged, merge
from llmkit.api.model import Model
from llmkit.api.neighbours import evaluate_embeddings
from llmkit.api.options import generation_options, schema
from llmkit.api.planning import plan
from llmkit.api.plotting import Plotted, plot
from llmkit.api.pretraining import pretrain
from llmkit.api.pushing import Pushed, PushedFile, PushPlan, plan_push, push
from llmkit.api.reporting import write_report
from llmkit.api.reproducing import Reproduction, reproduce
from llmkit.api.resuming import EarlierResults
from llmkit.api.scoring import score_files
from llmkit.api.texts import (
    InputRow,
    argument_row,
    choice_rows,
    classifier_pairs,
    given_rows,
    question_rows,
    read_pairs,
    read_questions,
    read_texts,
    stream_rows,
    text_rows,
)
from llmkit.api.training import Begun, Finetuned, count_devices, finetune
from llmkit.api.vectors import (
    SavedVectors,
    check_search,
    check_vectors_file,
    row_vectors,
    save_vectors,
    saved_vectors,
    search_rows,
    short_numbers,
)
from llmkit.api.verbs import Verb
from llmkit.api.words import read_words_or_texts, word_or_text_rows
from llmkit.diagnosis.report import Diagnosis
from llmkit.evaluation.verdict import Comparison
from llmkit.inference.embedding import EmbedOptions
from llmkit.inference.filling import Candidate, FilledMask, Filling
from llmkit.inference.nearest_rows import Found
from llmkit.inference.text import Generation
from llmkit.inspection.findings import CheckStage, DataReport, Finding, FoundRow
from llmkit.planning.planned import RunPlan
from llmkit.planning.values import ResolvedValue
from llmkit.recipe.explaining import Explanation
from llmkit.runs.listing import RunSummary, list_runs
from llmkit.tasks.classification.predict import Classification
from llmkit.tasks.classification.thresholds import parse_thresholds
from llmkit.tasks.multiple_choice.predict import Choice
from llmkit.tasks.question_answering.predict import Answer
from llmkit.tasks.token_classification.predict import Tagging
from llmkit.training.eta import Eta
from llmkit.training.prepared import Prepared
from llmkit.training.progress import Evaluated, Event, MicroBatchesReduced, Saved, StepResult
from llmkit.training.schedule import Plan

if TYPE_CHECKING:  # their module imports transformers
    from llmkit.inspection.shown import ShownExample, ShownSequence, ShownToken

__all__ = [
    "Answer",
    "Begun",
    "Candidate",
    "CheckStage",
    "Choice",
    "Classification",
    "Compared",
    "ComparedSystem",
    "Comparison",
    "DataReport",
    "Diagnosis",
    "Draft",
    "EarlierResults",
    "EmbedOptions",
    "Eta",
    "Evaluated",
    "Evaluation",
    "Event",
    "Explanation",
    "FamilyDescription",
    "FilledMask",
    "Filling",
    "Finding",
    "Finetuned",
    "Found",
    "FoundRow",
    "Gate",
    "Gates",
    "Generation",
    "InputRow",
    "Merged",
    "MicroBatchesReduced",
    "Model",
    "ModelDescription",
    "Plan",
    "Plotted",
    "Prepared",
    "PushPlan",
    "Pushed",
    "PushedFile",
    "Refusal",
    "Reproduction",
    "ResolvedValue",
    "RunPlan",
    "RunSummary",
    "Saved",
    "SavedVectors",
    "ShownExample",
    "ShownSequence",
    "ShownToken",
    "StepResult",
    "Tagging",
    "Verb",
    "argument_row",
    "check_data",
    "check_search",
    "check_vectors_file",
    "choice_rows",
    "classifier_pairs",
    "compare",
    "compared_record",
    "count_devices",
    "describe_model",
    "diagnose",
    "draft_recipe",
    "evaluate_embeddings",
    "evaluate_model",
    "evaluation_record",
    "explain",
    "file_gates",
    "finetune",
    "gate_records",
    "generation_options",
    "given_rows",
    "list_families",
    "list_runs",
    "load",
    "load_conversation",
    "merge",
    "model_gates",
    "parse_thresholds",
    "plan",
    "plan_push",
    "plot",
    "pretrain",
    "push",
    "question_rows",
    "read_pairs",
    "read_questions",
    "read_texts",
    "read_words_or_texts",
    "reproduce",
    "results_of_rows",
    "row_vectors",
    "save_conversation",
    "save_vectors",
    "saved_vectors",
    "schema",
    "score_files",
    "search_rows",
    "short_numbers",
    "show_data",
    "stream_rows",
    "text_rows",
    "word_or_text_rows",
    "write_report",
]
