"""Messages about rows that were logged before."""

from __future__ import annotations

import logging
import threading

import pytest

from llmkit.evaluation.repeated_messages import no_repeated_messages

logger = logging.getLogger("llmkit")


def test_only_the_thread_that_repeats_its_rows_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with no_repeated_messages():
        logger.error("repeated")
        with no_repeated_messages():
            pass
        logger.error("still repeated")
        other = threading.Thread(target=logger.error, args=("of another thread",))
        other.start()
        other.join()
    logger.error("afterwards")
    assert caplog.messages == ["of another thread", "afterwards"]


def test_messages_are_logged_again_after_an_error(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="x"), no_repeated_messages():
        raise ValueError("x")
    logger.error("afterwards")
    assert caplog.messages == ["afterwards"]
