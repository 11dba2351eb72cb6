"""How close a run's outputs are to another run's: picture metrics from torchmetrics, and figures of latents and sends.

Pictures and clips are uint8 [F, H, W, 3]; values come back as Python floats, None where there is no finite one.
"""

import math
import os

import numpy
import torch
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

PICTURE_METRICS = ("psnr", "ssim", "msSsim", "lpips", "lowestFramePsnr", "lowestFrameSsim", "temporalPsnr")
LPIPS_FILE = "alexnet.safetensors"
_SSIM_WINDOW = 11
_SCALES = 5
_FRAMES_AT_ONCE = 8


def compare(clip, reference, lpips=None) -> dict:
    """Every metric of PICTURE_METRICS by name; ``lpips`` as ``load_lpips`` gives it, None: not available."""
    if clip.shape != reference.shape:
        raise ValueError(f"found an output of shape {clip.shape}; the uncompressed run's has {reference.shape}")
    psnr = _by_frame(_psnr, clip, reference)
    ssim = _by_frame(_ssim, clip, reference) if min(clip.shape[1:3]) >= _SSIM_WINDOW else None
    several = len(clip) > 1
    return {
        "psnr": _mean_of_finite(psnr),
        "ssim": None if ssim is None else float(numpy.mean(ssim)),
        "msSsim": None if why_no_ms_ssim(clip.shape) else float(numpy.mean(_by_frame(_ms_ssim, clip, reference))),
        "lpips": None if lpips is None else float(numpy.mean(_by_frame(lpips, clip, reference))),
        "lowestFramePsnr": _finite(min(psnr)) if several else None,
        "lowestFrameSsim": float(min(ssim)) if several and ssim is not None else None,
        "temporalPsnr": _temporal_psnr(clip, reference) if several else None,
    }


def why_no_ms_ssim(shape) -> str:
    """Why MS-SSIM is not defined for clips of this shape; empty if it is."""
    least = _SSIM_WINDOW * 2 ** (_SCALES - 1)
    height, width = shape[1:3]
    if min(height, width) >= least:
        return ""
    return f"the pictures are {width}×{height}; {_SCALES} scales of a window of {_SSIM_WINDOW} need {least} pixels a side"


def _by_frame(metric, clip, reference):
    """``metric`` takes two float64 [n, 3, H, W] in 0 … 255 and gives n values; n is bounded for the memory's sake."""
    values = []
    for start in range(0, len(clip), _FRAMES_AT_ONCE):
        pair = (_planes(each[start : start + _FRAMES_AT_ONCE]) for each in (clip, reference))
        values += metric(*pair).reshape(-1).tolist()
    return values


def _planes(frames):
    # double: the variances in SSIM are small differences of large numbers, and equal pictures are to give 1
    return torch.from_numpy(frames.astype(numpy.float64)).permute(0, 3, 1, 2)


def _psnr(planes, reference):
    return peak_signal_noise_ratio(planes, reference, data_range=(0.0, 255.0), dim=(1, 2, 3), reduction="none")


def _ssim(planes, reference):
    return structural_similarity_index_measure(planes, reference, data_range=255.0, reduction="none")


def _ms_ssim(planes, reference):
    return multiscale_structural_similarity_index_measure(planes, reference, data_range=255.0, reduction="none")


def _temporal_psnr(clip, reference):
    """PSNR, peak 255, of the differences from frame to frame: what flickers in one clip and not in the other."""
    changes, expected = (numpy.diff(each.astype(numpy.float64), axis=0) for each in (clip, reference))
    error = float(((changes - expected) ** 2).mean())
    return None if error == 0.0 else 10.0 * math.log10(255.0**2 / error)


def _finite(value):
    return float(value) if math.isfinite(value) else None


def _mean_of_finite(values):
    finite = [value for value in values if math.isfinite(value)]
    return float(numpy.mean(finite)) if finite else None


def load_lpips(folder):
    """LPIPS (AlexNet) as a metric of planes in 0 … 255, from the user's own weights; nothing is downloaded.

    ``folder``/alexnet.safetensors holds torchvision's AlexNet (its ``state_dict()``). The linear layers on top come
    with torchmetrics.
    """
    from safetensors.torch import load_file
    from torchmetrics.functional.image.lpips import _LPIPS

    given = load_file(os.path.join(folder, LPIPS_FILE))
    given = {name.removeprefix("features."): tensor for name, tensor in given.items()}
    network = _LPIPS(pnet_rand=True, net="alex")
    # slices number the layers as torchvision does: "slice2.3.weight" is layer 3
    wanted = {name: given.get(name.split(".", 1)[1]) for name in network.net.state_dict()}
    missing = [name for name, tensor in wanted.items() if tensor is None]
    if missing:
        raise ValueError(f"{LPIPS_FILE} has no tensors for {', '.join(missing)}; expected torchvision's AlexNet")
    network.net.load_state_dict(wanted)

    def metric(planes, reference):
        with torch.no_grad():
            return network(planes.float() / 127.5 - 1.0, reference.float() / 127.5 - 1.0)

    return metric


def latents_psnr(latents, reference):
    """Of the latents after the last step, in dB, over the range of ``reference``; None: equal, or not finite."""
    last, expected = latents[-1].astype(numpy.float64), reference[-1].astype(numpy.float64)
    error = float(((last - expected) ** 2).mean())
    return None if error == 0.0 or not math.isfinite(error) else 10.0 * math.log10(float(numpy.ptp(expected)) ** 2 / error)


def distances(latents, reference) -> list:
    """‖z - z'‖ / ‖z'‖ after each step, None where it is not finite; both [steps, …]."""
    flat, expected = (each.reshape(len(each), -1).astype(numpy.float64) for each in (latents, reference))
    with numpy.errstate(all="ignore"):
        relative = numpy.linalg.norm(flat - expected, axis=1) / numpy.linalg.norm(expected, axis=1)
    return [_finite(value) for value in relative]
