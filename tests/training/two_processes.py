"""One of two processes: trains the three tasks for four steps and writes its weights. Started by test_updates.py."""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from accelerate import Accelerator
from builders import TASK_NAMES, rows, task_of, train, without_key_biases
from narrow_memory import narrow
from safetensors.torch import save_file

from llmkit.data.order import batch_of_step, cut_by_tokens, share_of_rank
from llmkit.errors import MachineError
from llmkit.evaluation.measure import measure
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.training.progress import MicroBatchesReduced

MICRO_BATCH_TOKENS = 24


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == 2
    uneven = 0
    for name, batch_size in product(TASK_NAMES, (32, 1)):
        task = without_key_biases(task_of(name))
        examples = task.encode(rows())
        for step in range(4):
            batch = batch_of_step(step, count=len(examples), batch_size=batch_size, seed=17)
            shares = [share_of_rank(batch, examples.lengths, rank=rank, world_size=2) for rank in range(2)]
            cuts = [len(cut_by_tokens(share, examples.lengths, max_tokens=MICRO_BATCH_TOKENS)) for share in shares]
            uneven += batch_size == 32 and cuts[0] != cuts[1]
        trained = train(task, steps=4, batch_size=batch_size, micro_batch_tokens=MICRO_BATCH_TOKENS)
        save_file(trained.weights, folder / f"{name}-{batch_size}-{accelerator.process_index}.safetensors")
        if batch_size == 32:
            engine = TransformersEngine(task.loaded, device=accelerator.device)
            losses = measure(task, examples, engine=engine, accelerator=accelerator).losses
            arrays = {"nats": losses.nats, "targets": losses.targets}
            np.savez(folder / f"{name}-losses-{accelerator.process_index}.npz", **arrays)
    assert uneven, "no step had different numbers of micro-batches on the two processes"
    run_out_of_memory(folder, accelerator)
    accelerator.end_training()


def run_out_of_memory(folder: Path, accelerator: Accelerator) -> None:
    """The second process needs smaller micro-batches; then one row alone does not fit there."""
    for rows_that_fit in (5, 0):
        task = without_key_biases(task_of("classification"))
        if accelerator.process_index == 1:
            narrow(task, rows=rows_that_fit)
        try:
            trained = train(task, steps=4, micro_batch_tokens=400)
        except MachineError as error:
            (folder / f"memory-{accelerator.process_index}.txt").write_text(str(error))
        else:
            sizes = [event.micro_batch_tokens for event in trained.events if isinstance(event, MicroBatchesReduced)]
            (folder / f"memory-{accelerator.process_index}.json").write_text(json.dumps(sizes))
            save_file(trained.weights, folder / f"memory-{accelerator.process_index}.safetensors")


main(Path(sys.argv[1]))
