"""Figures of `cfx eval` against values known in closed form."""

import json
import math
import os

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from cfx_eval import metrics, metrics_main, pictures, sends


def clip_of(*levels, size=(16, 20)):
    """Frames of one grey level each: uint8 [F, H, W, 3]."""
    return numpy.stack([numpy.full((*size, 3), level, numpy.uint8) for level in levels])


def test_equal_pictures_have_no_psnr_and_a_similarity_of_one():
    picture = numpy.random.default_rng(0).integers(0, 256, (1, 176, 180, 3), dtype=numpy.uint8)
    found = metrics.compare(picture, picture)
    assert found.pop("psnr") is None
    assert found.pop("ssim") == pytest.approx(1.0, abs=1e-12)
    assert found.pop("msSsim") == pytest.approx(1.0, abs=1e-12)
    assert set(found.values()) == {None}


def test_psnr_and_ssim_of_flat_frames():
    found = metrics.compare(clip_of(100, 150), clip_of(101, 154))
    expected = [20 * math.log10(255 / difference) for difference in (1, 4)]
    assert found["psnr"] == pytest.approx(sum(expected) / 2, abs=1e-4)
    assert found["lowestFramePsnr"] == pytest.approx(expected[1], abs=1e-4)
    # flat frames have no variance, so only the luminance term of SSIM is left
    c1 = (0.01 * 255) ** 2
    ssim = [(2 * a * b + c1) / (a * a + b * b + c1) for a, b in ((100, 101), (150, 154))]
    assert found["ssim"] == pytest.approx(sum(ssim) / 2, abs=1e-6)
    assert found["lowestFrameSsim"] == pytest.approx(min(ssim), abs=1e-6)


def test_temporal_psnr_sees_flicker_and_no_constant_offset():
    reference = clip_of(50, 60, 70, 80)
    assert metrics.compare(clip_of(52, 62, 72, 82), reference)["temporalPsnr"] is None
    flickering = metrics.compare(clip_of(52, 58, 72, 78), reference)
    assert flickering["temporalPsnr"] == pytest.approx(20 * math.log10(255 / 4), abs=1e-6)
    assert flickering["psnr"] == pytest.approx(20 * math.log10(255 / 2), abs=1e-4)


def test_ms_ssim_needs_176_pixels_and_says_so():
    assert "175×200" in metrics.why_no_ms_ssim((1, 200, 175, 3))
    assert metrics.why_no_ms_ssim((1, 176, 176, 3)) == ""
    assert metrics.compare(clip_of(1, size=(176, 176)), clip_of(2, size=(176, 176)))["msSsim"] is not None
    assert metrics.compare(clip_of(1), clip_of(2))["msSsim"] is None


def test_outputs_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 16, 20, 3\).*\(2, 16, 20, 3\)"):
        metrics.compare(clip_of(1), clip_of(1, 2))


def test_lpips_uses_the_weights_given(tmp_path):
    from torchmetrics.functional.image.lpips import _LPIPS

    torch.manual_seed(0)
    network = _LPIPS(pnet_rand=True, net="alex")
    state = {f"features.{name.split('.', 1)[1]}": tensor.clone() for name, tensor in network.net.state_dict().items()}
    save_file(state, tmp_path / metrics.LPIPS_FILE)
    lpips = metrics.load_lpips(str(tmp_path))
    frames = torch.from_numpy(numpy.random.default_rng(1).integers(0, 256, (2, 3, 64, 64))).double()
    assert lpips(frames, frames).abs().max() == 0.0
    expected = network(frames[:1].float() / 127.5 - 1.0, frames[1:].float() / 127.5 - 1.0)
    assert torch.equal(lpips(frames[:1], frames[1:]), expected) and expected > 0.0

    del state["features.6.bias"]
    save_file(state, tmp_path / metrics.LPIPS_FILE)
    with pytest.raises(ValueError, match=r"6\.bias"):
        metrics.load_lpips(str(tmp_path))


def test_latents():
    reference = numpy.stack([numpy.full((2, 3), 2.0), numpy.array([[0.0, 1.0, 2.0], [3.0, 4.0, 4.0]])])
    moved = reference + 0.5
    assert metrics.distances(moved, reference)[0] == pytest.approx(0.25)
    assert metrics.latents_psnr(moved, reference) == pytest.approx(20 * math.log10(4.0 / 0.5))
    assert metrics.latents_psnr(reference, reference) is None
    moved[0, 0, 0] = numpy.nan
    assert metrics.distances(moved, reference)[0] is None


def measured(rank, role="k", layer=0, energy=(4.0, 16.0), error=(0.0, 1.0), change=(0.0, 2.0), dot=(4.0, 6.0), sketch=()):
    site = {"transformer": "T", "layer": layer, "role": role, "collective": "all_to_all", "branch": 0}
    figures = {"energy": energy, "error": error, "change": change, "dot": dot}
    return {"rank": rank, "worldSize": 2, "steps": 2, "sites": [{**site, **{name: list(of) for name, of in figures.items()}}],
            "sketch": [list(step) for step in sketch]}


def test_errors_are_summed_over_ranks_and_samples_before_the_ratio():
    found = sends.site_errors([measured(0), measured(1, energy=(4.0, 84.0), error=(0.0, 3.0)), measured(0, role="q")])
    assert [site["role"] for site in found] == ["q", "k"]
    assert found[1]["relativeError"] == pytest.approx([0.0, math.sqrt(4.0 / 100.0)])
    assert sends.whole_error([]) == []


def test_steps_without_a_send_have_no_value():
    assert sends.whole_error([measured(0, energy=(4.0,), error=(1.0,), change=(0.0,), dot=(4.0,))]) == [0.5, None]
    assert sends.whole_error([measured(0, error=(0.0, math.inf))]) == [0.0, None]


def test_changes_from_step_to_step():
    whole, by_role, by_layer = sends.changes([measured(0), measured(1)])
    assert (whole["role"], by_role["role"], by_role["layer"], by_layer["layer"]) == (None, "k", None, 0)
    for curve in (whole, by_role, by_layer):
        assert curve["relativeNorm"] == [None, pytest.approx(math.sqrt(2.0 / 16.0))]
        assert curve["cosine"] == [None, pytest.approx(6.0 / math.sqrt(4.0 * 16.0))]


def test_trajectories_lie_in_the_plane_of_the_two_largest_components():
    steps = numpy.arange(5.0)
    plane = numpy.random.default_rng(2).normal(size=(2, 9))
    axes = numpy.linalg.qr(plane.T)[0].T
    paths = [numpy.stack([3 * steps, shift + numpy.zeros(5)], 1) @ axes for shift in (0.0, 1.0)]
    projected, explained = sends.trajectories(paths)
    assert sum(explained) == pytest.approx(1.0)
    for path, found in zip(paths, projected):
        assert numpy.diff(numpy.asarray(found), axis=0) == pytest.approx(numpy.tile([1, 0], (4, 1)) * numpy.diff(found, axis=0)[0])
        assert numpy.linalg.norm(numpy.diff(found, axis=0), axis=1) == pytest.approx(numpy.linalg.norm(numpy.diff(path, axis=0), axis=1))
    assert sends.trajectories([paths[0], paths[1][:3]]) == ([[], []], None)
    assert sends.trajectories([[], []]) == ([[], []], None)


def write_sample(folder, output, latents, sketch=((0.0, 1.0), (1.0, 2.0), (3.0, 0.5))):
    """A sample of two ranks, of which the second was handed the output."""
    for rank in (0, 1):
        inside = os.path.join(folder, f"rank-{rank}")
        os.makedirs(inside)
        with open(os.path.join(inside, "measures.json"), "w") as file:
            json.dump({**measured(rank, sketch=sketch), "steps": 2}, file)
    save_file({"latents": torch.tensor(latents)}, os.path.join(inside, "latents.safetensors"))
    if len(output) > 1:
        numpy.save(os.path.join(inside, "output-0.npy"), output)
    else:
        Image.fromarray(output[0]).save(os.path.join(inside, "output-0.png"))


def evaluation(folder):
    return metrics_main.evaluate(str(folder), ["off", "one"], 1, gain=8.0)


def test_an_evaluation_of_clips(tmp_path):
    write_sample(tmp_path / "off/sample-0000", clip_of(10, 20, 30), [[1.0, 3.0], [2.0, 4.0]])
    write_sample(tmp_path / "one/sample-0000", clip_of(10, 21, 34), [[1.0, 3.0], [2.0, 5.0]])
    found = evaluation(tmp_path)
    reference, sample = (policy["samples"][0] for policy in found["policies"])
    assert set(reference["metrics"].values()) == {None} and reference["identical"]
    assert not sample["identical"] and sample["distance"] == pytest.approx([0.0, math.sqrt(1.0 / 20.0)])
    assert sample["metrics"]["lowestFramePsnr"] == pytest.approx(20 * math.log10(255 / 4), abs=1e-4)
    # a frame that is equal has no PSNR: the mean is over the others
    assert sample["metrics"]["psnr"] == pytest.approx(sum(20 * math.log10(255 / d) for d in (1, 4)) / 2, abs=1e-4)
    (output,) = sample["outputs"]
    assert output["frames"] == output["shownFrames"] == 3 and output["file"] == "one/sample-0000/rank-1/output-0.npy"
    assert Image.open(tmp_path / output["preview"]).size == (60, 16)
    difference = numpy.asarray(Image.open(tmp_path / output["difference"]))
    assert [int(difference[0, column, 0]) for column in (0, 20, 40)] == [0, 8, 32]
    assert {entry["metric"] for entry in found["unavailable"]} == {"lpips", "msSsim"}
    json.dumps(found, allow_nan=False)


def test_figures_are_kept_until_a_sample_is_made_again(tmp_path):
    write_sample(tmp_path / "off/sample-0000", clip_of(10), [[1.0], [2.0]])
    write_sample(tmp_path / "one/sample-0000", clip_of(11), [[1.0], [2.0]])
    before = evaluation(tmp_path)["policies"][1]["samples"][0]["metrics"]
    Image.fromarray(clip_of(14)[0]).save(tmp_path / "one/sample-0000/rank-1/output-0.png")
    assert evaluation(tmp_path)["policies"][1]["samples"][0]["metrics"] == before
    os.utime(tmp_path / "one/sample-0000/rank-0/measures.json", ns=(1, 1))
    after = evaluation(tmp_path)["policies"][1]["samples"][0]["metrics"]
    assert before["psnr"] - after["psnr"] == pytest.approx(20 * math.log10(4), abs=1e-4)


def test_samples_that_cannot_be_compared_are_refused_by_name(tmp_path):
    write_sample(tmp_path / "off/sample-0000", clip_of(10), [[1.0], [2.0]])
    write_sample(tmp_path / "one/sample-0000", clip_of(10), [[1.0], [2.0]])
    os.remove(tmp_path / "one/sample-0000/rank-1/output-0.png")
    with pytest.raises(ValueError, match="sample 0: one has 0 outputs; the uncompressed run has 1"):
        evaluation(tmp_path)


def test_a_long_clip_is_shown_by_frames_from_its_first_to_its_last():
    strip = pictures.shown(clip_of(*range(17), size=(4, 4)))
    assert strip.shape == (4, 9 * 4, 3) and strip[0, ::4, 0].tolist() == list(range(0, 17, 2))
