"""The measures, on cases worked out by hand."""

from __future__ import annotations

import pytest
import torch

from training.measures import (
    accuracy,
    calibration_error,
    fit_scale,
    question_calibration,
    twenty_ways,
)


def test_calibration_error_by_hand() -> None:
    # Two bins: 0.9, 0.9 right half the time (gap 0.4), 0.5 and 0.5 right always (gap 0.5).
    probabilities = torch.tensor([0.9, 0.9, 0.5, 0.5])
    right = torch.tensor([True, False, True, True])
    assert calibration_error(probabilities, right) == pytest.approx(0.5 * 0.4 + 0.5 * 0.5)


def test_a_perfect_forecast_has_no_calibration_error() -> None:
    assert calibration_error(torch.ones(5), torch.ones(5, dtype=torch.bool)) == 0


def test_accuracy_by_hand() -> None:
    similarities = torch.zeros(4, 30)
    right = torch.tensor([3, 3, 3, 3])
    similarities[:, 3] = 1
    similarities[1, 5] = 2  # the right label is second
    similarities[2, 10:15] = 2  # and here sixth
    result = accuracy(similarities, right)
    assert result.top1 == 50
    assert result.top5 == 75
    assert result.top1_error == pytest.approx(100 * (1 / 3) ** 0.5 / 2)  # std of 1, 0, 0, 1
    assert 50 <= result.twenty < 75


def test_questions_hold_the_right_label_once_and_19_others() -> None:
    similarities = torch.arange(40.0).repeat(3, 1)
    questions = twenty_ways(similarities, torch.tensor([7, 0, 39]))
    assert questions.shape == (3, 10, 20)
    assert questions[0, :, 0].tolist() == [7] * 10
    assert all(len(set(q)) == 20 for q in questions.flatten(0, 1).tolist())


def test_the_fitted_scale_is_the_one_answers_were_drawn_at() -> None:
    torch.manual_seed(0)
    similarities = torch.rand(20_000, 20)
    drawn = torch.multinomial((15 * similarities).softmax(1), 1)
    similarities[:, :1], similarities[torch.arange(20_000), drawn[:, 0]] = (
        similarities.gather(1, drawn),
        similarities[:, 0].clone(),
    )
    assert abs(fit_scale([similarities]) - 15) <= 1
    assert question_calibration(similarities, 15.0) < 0.02
    assert question_calibration(similarities, 60.0) > 0.2
