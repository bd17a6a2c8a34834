"""loss.png and its twin in characters: both series are seen, spikes survive, and what is damaged is told."""

from __future__ import annotations

import json
import logging
import math
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from empty_runs import create_run
from facts import facts, logged, says
from numpy.typing import NDArray

from llmkit.errors import RunError
from llmkit.runs.folder import Run
from llmkit.runs.plot import (
    SMOOTHED_COLOUR,
    TRAIN_COLOUR,
    VALIDATION_COLOUR,
    Losses,
    downsampled,
    draw_png,
    draw_text,
    read_losses,
    smoothed,
    write_png,
)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def curve(points: int) -> list[tuple[int, float]]:
    """Falls from about 8 to about 2, with a ripple."""
    return [(step, 2 + 6 * math.exp(-4 * step / points) + 0.1 * math.sin(step)) for step in range(1, points + 1)]


def losses(points: int = 400) -> Losses:
    return Losses(curve(points), [(points // 2, 2.9), (points, 2.4)], omitted=0)


def run_with(folder: Path, *lines: object, tail: str = "") -> Run:
    run = create_run(folder / "run", recipe_name="news")
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    return run


def pixels(png: bytes) -> NDArray[np.uint8]:
    """(height, width, 3)"""
    from PIL import Image

    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))


def count(image: NDArray[np.uint8], colour: str) -> int:
    wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return int((image == wanted).all(axis=-1).sum())


# ---- the picture


def test_the_picture_shows_both_series_in_their_colours() -> None:
    image = pixels(draw_png(losses()))
    assert image.shape == (675, 1200, 3)
    for colour in (TRAIN_COLOUR, SMOOTHED_COLOUR, VALIDATION_COLOUR):
        assert count(image, colour) > 100, colour
    without = pixels(draw_png(Losses(curve(400), [], omitted=0)))
    assert count(without, VALIDATION_COLOUR) == 0


def test_a_short_run_has_one_line_for_training() -> None:
    image = pixels(draw_png(losses(20)))
    assert count(image, TRAIN_COLOUR) == 0
    assert count(image, SMOOTHED_COLOUR) > 100


def test_the_same_losses_give_the_same_bytes_with_no_version_in_them() -> None:
    first = draw_png(losses())
    assert first == draw_png(losses())
    assert b"Software" not in first


def test_a_spike_of_one_step_in_a_hundred_thousand_is_in_the_picture() -> None:
    flat = [(step, 2.0) for step in range(1, 100_001)]
    spiked = [*flat[:77_776], (77_777, 9.0), *flat[77_777:]]
    column = [count(pixels(draw_png(Losses(train, [(1, 9.0)], omitted=0))), TRAIN_COLOUR) for train in (flat, spiked)]
    assert column[1] > column[0] + 200  # a line to the top


def test_the_picture_is_put_into_the_folder_whole(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", recipe_name="news")
    path = write_png(run, losses())
    assert path == run.folder / "loss.png"
    assert path.read_bytes().startswith(PNG_SIGNATURE)
    assert sorted(entry.name for entry in run.folder.iterdir()) == ["checkpoints", "lock", "loss.png", "run.json"]


@pytest.mark.parametrize(
    "few",
    [
        Losses([(1, 2.5)], [], omitted=0),
        Losses([], [(7, 2.5)], omitted=3),
        Losses([(1, 0.0), (2, 0.0)], [], omitted=0),
        Losses([(1, 3e38), (2, -3e38)], [(2, 1e-30)], omitted=0),
    ],
)
def test_few_and_odd_points_can_be_drawn(few: Losses) -> None:
    image = pixels(draw_png(few))
    within = image[60:600, 110:850]  # left of the legend
    assert count(within, SMOOTHED_COLOUR) + count(within, VALIDATION_COLOUR) > 10
    assert re.search(r"│ *[⠁-⣿o]", draw_text(few, columns=80))


# ---- thinning and smoothing


@pytest.mark.parametrize("points", [1, 2, 1_999, 2_000, 2_001, 4_567, 100_000])
def test_thinning_keeps_ends_extremes_and_order_within_its_limit(points: int) -> None:
    full = curve(points)
    full[points // 3] = (full[points // 3][0], 50.0)
    full[points // 2] = (full[points // 2][0], -50.0)
    thin = downsampled(full, most=2_000)
    assert len(thin) <= 2_000
    assert thin == sorted(set(thin) & set(full))
    assert (thin[0], thin[-1]) == (full[0], full[-1])
    assert max(loss for _, loss in thin) == max(loss for _, loss in full)
    assert min(loss for _, loss in thin) == min(loss for _, loss in full)
    if points <= 2_000:
        assert thin == full


def test_every_one_of_many_spikes_survives_thinning() -> None:
    full = [(step, 90.0 if step % 1_000 == 0 else 2.0) for step in range(1, 100_001)]
    assert sum(loss == 90.0 for _, loss in downsampled(full, most=2_000)) == 100


def test_smoothing_keeps_the_mean_and_takes_out_the_ripple() -> None:
    full = [(step, 3.0 + (-1) ** step) for step in range(1, 1_001)]
    smooth = smoothed(full, points=100)
    assert len(smooth) == 100
    assert [loss for _, loss in smooth] == pytest.approx([3.0] * 100)
    assert smooth[0][0] == pytest.approx(5.5)  # the middle of steps 1 to 10


# ---- characters


@pytest.mark.parametrize("columns", [60, 80, 133])
def test_characters_fit_the_terminal_and_hold_no_control_codes(columns: int) -> None:
    text = draw_text(losses(5_000), columns=columns)
    assert max(map(len, text.split("\n"))) <= columns
    assert len(text.split("\n")[3]) > columns // 10
    assert text.replace("\n", "").isprintable()


def test_characters_show_both_series_and_their_limits() -> None:
    train = [(1, 8.0), (500, 4.0), (1_000, 2.0)]
    lines = draw_text(Losses(train, [(1_000, 3.0)], omitted=2), columns=80).split("\n")
    says(lines[0], "loss", "nats", "⠤⠤ training", "o validation")
    assert re.match(r"    8\.000 │[⠁-⣿]", lines[1])  # step 1 is the first column
    assert [line.rindex("o") for line in lines[2:18] if "o" in line] == [79]  # step 1,000 is the last column
    assert lines[17].startswith("    2.000 │")
    assert re.fullmatch(r" {11}1 +step +1,000", lines[19])
    says(" ".join(lines[20:]), "validation loss 3", "step 1,000", "training loss 2", "; 2 ", "not finite")


# ---- metrics.jsonl


def test_losses_are_read_and_what_is_not_finite_is_counted(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", recipe_name="news")
    for step, loss in enumerate([3.0, math.inf, 2.0, math.nan], start=1):
        run.log(step, {"train/loss": loss, "train/tokens": 9})
    run.log(4, {"evaluation/loss": 2.5, "evaluation/perplexity": 12.2})
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "train/loss": NaN}\n{"step": 6, "train/loss": -Infinity}\n')  # of other programs
    found = read_losses(run)
    assert found == Losses([(1, 3.0), (3, 2.0)], [(4, 2.5)], omitted=4)
    validation, training, omitted = found.summary
    says(validation, "validation loss 2.5", "step 4")
    says(training, "training loss 2")
    says(omitted, 4, "not finite")


def test_a_torn_last_line_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = run_with(tmp_path, {"step": 1, "train/loss": 3.0}, tail='{"step": 2, "train/lo')
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        assert read_losses(run).train == [(1, 3.0)]
    assert len(logged(caplog, "WARNING", "metrics.jsonl", "last line")) == 1
    caplog.clear()
    (tmp_path / "whole").mkdir()
    read_losses(run_with(tmp_path / "whole", {"step": 1, "train/loss": 3.0}))
    assert caplog.text == ""


@pytest.mark.parametrize(
    "line", [{"step": 2, "train/loss": "low"}, {"step": 2, "evaluation/loss": True}, {"step": "2"}]
)
def test_a_line_with_a_value_that_is_no_number_is_left_out_with_a_warning(
    line: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_losses(run_with(tmp_path, {"step": 1, "train/loss": 3.0}, line)) == Losses([(1, 3.0)], [], omitted=0)
    assert "metrics.jsonl" in caplog.text


def test_damaged_lines_are_not_plotted(tmp_path: Path) -> None:
    run = run_with(tmp_path, {"train/loss": 2.0}, ["step"], tail='{"step": \n{"step": 2, "train/loss": 1.0}\n')
    assert read_losses(run) == Losses([(2, 1.0)], [], omitted=0)


def test_a_run_without_losses_is_told_what_to_do(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", recipe_name="news")
    with pytest.raises(RunError, match=facts("losses", f"llmkit finetune --resume {run.folder}")):
        read_losses(run)
    (run.folder / "metrics.jsonl").write_text("")
    with pytest.raises(RunError, match=facts("losses", f"llmkit finetune --resume {run.folder}")):
        read_losses(run)
    run.log(1, {"train/loss": math.nan})
    with pytest.raises(RunError, match=facts(1, "losses", "finite")):
        read_losses(run)


def test_drawing_loads_neither_torch_nor_pyplot() -> None:
    probe = (
        "import sys; from llmkit.runs.plot import *; few = Losses([(1, 2.0)], [], 0)\n"
        "before = 'matplotlib' in sys.modules; draw_png(few); draw_text(few, columns=80)\n"
        "print(before, *sorted({'torch', 'matplotlib.pyplot'} & sys.modules.keys()))"
    )
    assert subprocess.check_output([sys.executable, "-c", probe], text=True).strip() == "False"
