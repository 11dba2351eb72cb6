"""What a rank keeps of its samples: which calls are samples, which files there are, what the figures say."""

import json
from types import SimpleNamespace

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from cfx_shim.observe import Observer
from cfx_shim.plan import Treatment
from cfx_shim.progress import Place

OPTIONS = {"firstSample": 0, "outputs": True, "measureSamples": 1, "record": None}
RECORD = {"roles": ["k"], "layers": [1, 3], "steps": [0, None], "tokenStride": 2}


class Run:
    """An observer, and a pipeline of one scheduler whose every step exchanges one tensor."""

    def __init__(self, folder, rank=0, **options):
        self.bytes = [0, 0]
        self.folder = folder
        self.rank = rank
        self.observer = Observer({**OPTIONS, "folder": str(folder), **options}, lambda: (rank, 2), lambda: tuple(self.bytes))
        self.step = self.observer.around_step(lambda latents: (latents,))
        self.pipeline = self.observer.around_pipeline(self._run)
        self.prepare_run = self.observer.around_rehearsal(self._run_pipeline)

    def _run(self, result, sends=()):
        for step, exact, received in sends:
            section = SimpleNamespace(role="k", keyframe=step == 0, treatment=Treatment("binary", 1, True))
            if self.observer.looks():
                self.observer.sent(Place(0, step, 0, "Model", 2), section, "all_gather", exact, received)
            self.bytes[0] += 100
            self.bytes[1] += 10
            self.step(torch.full((1, 3), float(step)))
        return result

    def _run_pipeline(self):
        return self.pipeline(None)

    def measures(self, sample):
        with open(self.folder / f"sample-{sample:04d}" / f"rank-{self.rank}" / "measures.json") as file:
            return json.load(file)


def test_figures_of_a_send_are_sums_over_its_blocks(tmp_path):
    run = Run(tmp_path)
    before, exact, received = torch.randn(3, 2, 4, 5).unbind(0)
    run.pipeline(None, [(0, before, before), (1, exact, received)])
    measures = run.measures(0)
    (site,) = measures["sites"]
    assert (site["transformer"], site["layer"], site["role"], site["collective"]) == ("Model", 2, "k", "all_gather")
    assert site["codec"] == ["identity", "binary"]
    assert site["energy"][1] == pytest.approx(float(exact.square().sum()))
    assert site["error"] == [0.0, pytest.approx(float((exact - received).square().sum()))]
    assert site["change"] == [0.0, pytest.approx(float((exact - before).square().sum()))]
    assert site["dot"][1] == pytest.approx(float((exact * before).sum()), abs=1e-5)
    assert (measures["rawBytes"], measures["wireBytes"], measures["steps"]) == (200, 20, 2)
    assert len(measures["sketch"]) == 2 and len(measures["sketch"][0]) == 8


def test_only_the_first_samples_are_measured_and_bytes_are_counted_per_sample(tmp_path):
    run = Run(tmp_path, firstSample=4, measureSamples=5)
    x = torch.randn(1, 4, 5)
    for _ in range(2):
        run.pipeline(None, [(0, x, x)])
    assert run.measures(4)["measured"] and run.measures(4)["sites"]
    assert not run.measures(5)["measured"] and not run.measures(5)["sites"]
    assert [run.measures(sample)["rawBytes"] for sample in (4, 5)] == [100, 100]


def test_latents_are_kept_after_every_step(tmp_path):
    run = Run(tmp_path, measureSamples=0)
    x = torch.randn(1, 4, 5)
    run.pipeline(None, [(0, x, x), (1, x, x)])
    latents = load_file(tmp_path / "sample-0000" / "rank-0" / "latents.safetensors")["latents"]
    assert latents.tolist() == [[[0.0] * 3], [[1.0] * 3]]


def test_a_rehearsal_and_an_inner_pipeline_are_no_samples(tmp_path):
    run = Run(tmp_path)
    run.prepare_run()
    outer = run.observer.around_pipeline(lambda: run.pipeline(None))
    outer()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample-0000"]


def test_a_call_that_fails_leaves_no_complete_sample_and_takes_no_number(tmp_path):
    run = Run(tmp_path)

    def fail():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        run.observer.around_pipeline(fail)()
    assert not run.observer.looks()
    run.pipeline(None)
    assert [path.name for path in tmp_path.rglob("measures.json")] == ["measures.json"]
    assert run.measures(0)["steps"] == 0


PICTURE = (numpy.arange(48, dtype=numpy.uint8).reshape(4, 4, 3) * 5).copy()
CLIP = numpy.stack([PICTURE, 255 - PICTURE])


def _kept(folder):
    return sorted((folder / "sample-0000" / "rank-0").glob("output-*"))


@pytest.mark.parametrize(
    "images",
    [
        [Image.fromarray(PICTURE)],
        PICTURE[None],
        PICTURE[None] / 255.0,
        torch.from_numpy(PICTURE / 255.0).movedim(-1, 0)[None],
    ],
    ids=["PIL", "uint8", "numpy", "torch"],
)
def test_pictures_are_kept_as_png(tmp_path, images):
    Run(tmp_path).pipeline(SimpleNamespace(images=images))
    (file,) = _kept(tmp_path)
    assert file.name == "output-0.png"
    assert (numpy.asarray(Image.open(file)) == PICTURE).all()


@pytest.mark.parametrize(
    "frames",
    [
        [[Image.fromarray(frame) for frame in CLIP]],
        CLIP[None] / 255.0,
        torch.from_numpy(CLIP / 255.0).movedim(-1, 1)[None],
    ],
    ids=["PIL", "numpy", "torch"],
)
def test_clips_are_kept_as_arrays(tmp_path, frames):
    Run(tmp_path).pipeline(SimpleNamespace(frames=frames))
    (file,) = _kept(tmp_path)
    assert file.name == "output-0.npy"
    assert (numpy.load(file) == CLIP).all()


@pytest.mark.parametrize("result", [None, SimpleNamespace(images=torch.randn(2, 1024, 64)), SimpleNamespace(images=[])])
def test_what_is_no_picture_is_left_alone(tmp_path, result):
    run = Run(tmp_path)
    run.pipeline(result)
    assert _kept(tmp_path) == [] and run.measures(0)["rank"] == 0


def test_recorded_are_the_wanted_roles_layers_and_tokens(tmp_path):
    run = Run(tmp_path, rank=1, record=RECORD)
    first, second = torch.randn(2, 1, 5, 3).unbind(0)
    run.pipeline(None, [(0, first, first), (1, second, second)])
    run.pipeline(None, [(0, first, first)])
    folder = tmp_path / "sample-0000" / "rank-1"
    for step, exact in enumerate((first, second)):
        kept = load_file(folder / f"trace-{step:03d}.safetensors")
        assert list(kept) == ["Model.2|k|all_gather|0"]
        assert torch.equal(kept["Model.2|k|all_gather|0"], exact[:, ::2])
    assert (tmp_path / "sample-0001" / "rank-1" / "trace-000.safetensors").exists()


def test_nothing_is_recorded_outside_the_wanted_layers(tmp_path):
    run = Run(tmp_path, record={**RECORD, "layers": [3, None]})
    x = torch.randn(1, 4, 5)
    run.pipeline(None, [(0, x, x)])
    assert not list(tmp_path.rglob("trace-*"))
