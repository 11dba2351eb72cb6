"""The judges of the small checkpoints as ``cfx eval`` calls them: a command that reads samples and prints JSON."""

import json
import os
import subprocess
import sys

import pytest

TRAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "train")
COUNT = 24

RENDER = """
import json, os, sys
import numpy
from PIL import Image
import judge
from dataset import held_out

for name, data in judge.DATA.items():
    folder = os.path.join(sys.argv[1], name)
    os.makedirs(folder)
    samples, captions, labels = data.make_batch(int(sys.argv[2]), held_out(77))
    back = data.labels_of(captions)
    assert all((back[key] == value).all() for key, value in labels.items())
    rows = []
    for index, sample in enumerate(((samples + 1) * 127.5).round().byte().movedim(1, -1).numpy()):
        file = f"{index}.npy" if sample.ndim == 4 else f"{index}.png"
        path = os.path.join(folder, file)
        numpy.save(path, sample) if sample.ndim == 4 else Image.fromarray(sample).save(path)
        rows.append({"prompt": captions[index], "file": file})
    shifted = [{"prompt": rows[index - 1]["prompt"], "file": row["file"]} for index, row in enumerate(rows)]
    for kind, listed in (("right", rows), ("shifted", shifted)):
        with open(os.path.join(folder, kind + ".json"), "w") as file:
            json.dump(listed, file)
"""


def run(*command):
    return subprocess.run([sys.executable, *command], cwd=TRAIN, capture_output=True, text=True)


def score(judge, samples):
    return run("judge.py", "score", "--judge", f"judges/judge-{judge}.safetensors", "--samples", str(samples))


@pytest.fixture(scope="module")
def renders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("renders")
    done = run("-c", RENDER, str(folder), str(COUNT))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("judge", ["shapes", "moving", "scenes"])
def test_a_judge_reads_real_renders_and_not_captions_of_others(judge, renders):
    right, shifted = (score(judge, renders / judge / f"{kind}.json") for kind in ("right", "shifted"))
    assert right.returncode == 0, right.stderr
    table = json.loads(right.stdout)
    parts = [value for name, value in table.items() if name not in ("mean", "all")]
    assert table["mean"] == pytest.approx(sum(parts) / len(parts), abs=1e-3)
    assert table["mean"] >= 0.9
    assert table["all"] <= min(parts)
    assert json.loads(shifted.stdout)["mean"] < 0.6


def test_samples_of_another_model_are_refused(renders):
    done = score("shapes", renders / "moving" / "right.json")
    assert done.returncode == 1
    assert "reads uint8 (128, 128, 3)" in done.stderr


def test_a_caption_that_names_no_shape_is_refused(renders, tmp_path):
    rows = json.loads((renders / "shapes" / "right.json").read_text())
    for row in rows:
        row["file"] = str(renders / "shapes" / row["file"])
    rows[3]["prompt"] = "a small dog by day"
    (tmp_path / "samples.json").write_text(json.dumps(rows))
    done = score("shapes", tmp_path / "samples.json")
    assert done.returncode == 1
    assert "no shape in the caption" in done.stderr
