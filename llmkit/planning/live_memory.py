"""How much memory a forward and a backward pass need, from shapes alone: nothing is computed but positions and masks.

The weights are fake tensors, which have a shape, a type and a device, but no numbers. Token ids, masks and labels are real,
since a model's code depends on them. Memory of storages is counted from their creation to their release, so `peak` is
that of an allocator without gaps. Of the workspaces inside operations, those in `_temporary_bytes` are counted.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

Allocations = Sequence[tuple[int, int]]
"""(number of the tensor, its bytes) in order; less than 0 where it is freed."""
_LSTM_VALUES = 6
"""Of a unit at each token: four gates, the cell and its output."""


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, `now` is the size of all tensors made so far that are still in use, `peak` its maximum, and `allocations` has
    all of them in order."""

    def __init__(self, existing: Sequence[Tensor], *, rounded_to: int = 1) -> None:
        """
        Args:
            existing: tensors that are not counted, with all their views.
            rounded_to: the sizes that the allocator gives are multiples of this.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self.allocations: list[tuple[int, int]] = []
        self._rounded_to = rounded_to
        self._tensors = 0
        self._known = {id(tensor.untyped_storage()): tensor.untyped_storage() for tensor in existing}
        self._counted: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        args, kwargs = _with_known_positions(func, args), dict(kwargs or {})
        if _writes_unknown(func, args):
            return args[0]
        result = _with_workspace(func, args, func(*args, **kwargs))
        temporary = self._allocate(_temporary_bytes(func, args))
        tree_map_only(Tensor, self._count, result)
        self._free(*temporary)
        return result

    def _count(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key not in self._known and key not in self._counted:
            number, size = self._allocate(storage.nbytes())
            self._counted[key] = weakref.ref(storage, partial(self._release, key, number, size))
        return tensor

    def _release(self, key: int, number: int, size: int, storage: object) -> None:
        del self._counted[key]
        self._free(number, size)

    def _allocate(self, size: int) -> tuple[int, int]:
        """The number of a new tensor, and its size."""
        size = rounded_up(size, self._rounded_to)
        self._tensors += 1
        if size:
            self.allocations.append((self._tensors, size))
        self.now += size
        self.peak = max(self.peak, self.now)
        return self._tensors, size

    def _free(self, number: int, size: int) -> None:
        if size:
            self.allocations.append((number, -size))
        self.now -= size


def rounded_up(size: int, unit: int) -> int:
    """The least multiple of the unit that is not below the size."""
    return -(-size // unit) * unit


def _temporary_bytes(func: Any, args: tuple[Any, ...]) -> int:
    """Bytes that an operation allocates beside its result: `logsumexp` computes the exponentials in a tensor of its own."""
    return args[0].nbytes if getattr(func, "overloadpacket", None) is torch.ops.aten.logsumexp else 0


def _with_workspace(func: Any, args: tuple[Any, ...], result: Any) -> Any:
    """The result of an operation; oneDNN's LSTM keeps its gates and states for the backward pass in a tensor of bytes, which
    is empty among fake tensors."""
    if getattr(func, "overloadpacket", None) is not torch.ops.aten.mkldnn_rnn_layer:
        return result
    output, hidden, cell, workspace = result
    values = _LSTM_VALUES * output.shape[0] * output.shape[1] * output.shape[2]
    return output, hidden, cell, workspace.new_empty(values * output.element_size())


def _with_known_positions(func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Masks as indices, whose number is known since they are real: a fake tensor cannot have an unknown shape."""
    packet = getattr(func, "overloadpacket", None)
    if packet not in (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_):
        return args
    indices: list[Tensor | None] = []
    for index in args[1]:
        if index is not None and index.dtype == torch.bool and not isinstance(index, FakeTensor):
            indices += index.nonzero(as_tuple=True)
        else:
            indices.append(index)
    return (args[0], indices, *args[2:])


def _writes_unknown(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether an operation would write fake numbers into real ones, which then keep their own."""
    if not args or not isinstance(args[0], Tensor) or isinstance(args[0], FakeTensor):
        return False
    schema = func._schema
    if not schema.is_mutable or not schema.name.endswith("_"):
        return False
    return any(isinstance(leaf, FakeTensor) for leaf in tree_leaves(args[1:]))
