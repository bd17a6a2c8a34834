from __future__ import annotations

import pytest
import torch
from small_models import small_bert, small_gpt2, small_t5

from llmkit.models.loaded import LoadedModel


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(1)  # tiny models: more threads only wait for each other


@pytest.fixture
def gpt2() -> LoadedModel:
    return small_gpt2()


@pytest.fixture
def bert() -> LoadedModel:
    return small_bert()


@pytest.fixture
def t5() -> LoadedModel:
    return small_t5()


@pytest.fixture(params=["gpt2", "t5"])
def writer(request: pytest.FixtureRequest) -> LoadedModel:
    return small_gpt2() if request.param == "gpt2" else small_t5()
