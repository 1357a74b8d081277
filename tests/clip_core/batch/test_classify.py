from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from clip_core import ZeroShotClassifier
from clip_core.batch.classify import COLUMNS, rank, score_columns, sort, to_columns
from clip_core.batch.inputs import find_inputs
from clip_core.batch.pipeline import encode
from clip_core.batch.store_folder import store_folder
from clip_core.batch.tables import TableWriter
from clip_core.inference.feature_store import FeatureStore

LABELS = ["cat", "cup of coffee", "pagoda", "bar chart"]
PROMPTS = [[f"a photo of a {label}.", label] for label in LABELS]


@pytest.fixture(scope="module")
def bundled() -> ZeroShotClassifier:
    return ZeroShotClassifier("bundled", device="cpu")


def test_each_picture_gets_the_answer_of_the_page(
    bundled: ZeroShotClassifier, tmp_path: Path
) -> None:
    sources = find_inputs(["ui/examples"])
    folder = store_folder(tmp_path, bundled, "pad")
    with FeatureStore(folder, bundled.model.visual.output_dim) as store:
        encoded = encode(bundled, sources, store, "pad", workers=0)
        ((rows, ranking),) = sort(bundled, encoded, LABELS, PROMPTS)
    columns = to_columns(rows, ranking, each_label=True)
    assert list(columns) == [*COLUMNS, *score_columns(LABELS)]
    for i, source in enumerate(sources):
        scores = bundled.score(source.path, LABELS, PROMPTS)
        best = scores.to_frame()
        none = scores.none_of_these
        assert none is not None
        assert columns["picture"][i] == source.name
        assert columns["label"][i] == best.label[0]
        assert columns["second_label"][i] == best.label[1]
        assert columns["probability"][i] == pytest.approx(best.probability[0], abs=1e-5)
        assert columns["cosine_similarity"][i] == pytest.approx(best.cosine_similarity[0], abs=1e-5)
        assert columns["none_of_these"][i] == pytest.approx(none.chance, abs=1e-4)
        assert columns["is_none"][i] == none.is_none
        assert np.allclose(ranking.probabilities[i], scores.probabilities, atol=1e-5)


def test_one_label_and_a_model_without_a_fit(tiny: ZeroShotClassifier) -> None:
    features = torch.nn.functional.normalize(torch.randn(3, 64), dim=-1)
    ranking = rank(tiny, features, features[:1], ["cat"])
    assert ranking.none_of_these is None
    assert ranking.order().tolist() == [[0, -1]] * 3
    assert ranking.probabilities.tolist() == [[1.0]] * 3


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_tables_hold_any_text(tmp_path: Path, suffix: str) -> None:
    pictures = ["plain", 'quo"ted, and', "two\nlines", "=1+1", "猫 \\xe9", "\r"]
    path = tmp_path / f"table{suffix}"
    with TableWriter(path, {"picture": COLUMNS["picture"], "n": COLUMNS["probability"]}) as table:
        table.write({"picture": pictures[:3], "n": [0.1, None, 0.3]})
        table.write({"picture": pictures[3:], "n": [0.4, 0.5, 0.6]})
        assert not path.exists()  # before it is whole
    if suffix == ".parquet":
        read = pd.read_parquet(path)
    elif suffix == ".jsonl":
        read = pd.DataFrame(map(json.loads, path.read_text(encoding="utf-8").splitlines()))
    else:
        read = pd.read_csv(path, lineterminator=None)
        pictures = [f"'{text}" if text in ("=1+1", "\r") else text for text in pictures]
    assert read["picture"].tolist() == pictures
    assert read["n"].isna().tolist() == [False, True, False, False, False, False]
    assert read["n"].iloc[2] == pytest.approx(0.3)


def test_a_table_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), TableWriter(path, COLUMNS):
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_tables_that_can_not_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.csv, \.jsonl or \.parquet"):
        TableWriter(tmp_path / "table.xlsx", COLUMNS)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="can't be written"):
        TableWriter(tmp_path / "file/table.csv", COLUMNS)
