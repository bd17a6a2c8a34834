from __future__ import annotations

from trained_runs import here, own_runs, trained, work

__all__ = ["here", "own_runs", "trained", "work"]
