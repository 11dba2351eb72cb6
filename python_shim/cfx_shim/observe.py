"""What a rank keeps of its run for ``cfx record`` and ``cfx eval``: outputs, latents, measures, exact tensors.

A sample is one outermost pipeline call that is not xDiT's own rehearsal. Files and their meaning: src/observe.ts.
Observing copies to the host and waits for the device, so it slows a run; it changes nothing that is computed.
"""

import functools
import json
import os
import time

from .plan import within


class Observer:
    """``options`` is the ``observe`` of run.json, ``identify()`` gives (rank, world size), ``bytes_sent()`` (raw, wire)."""

    def __init__(self, options, identify, bytes_sent):
        self._options = options
        self._identify = identify
        self._bytes_sent = bytes_sent
        self._next = options["firstSample"]
        self._sample = None
        self._pipelines = self._rehearsals = self._schedulers = 0

    # wrappers of the framework's methods

    def around_pipeline(self, call):
        @functools.wraps(call)
        def observed(*args, **kwargs):
            outermost = self._pipelines == 0 and self._rehearsals == 0
            if outermost:
                self._sample = _Sample(self._next, self._options, self._identify, self._bytes_sent)
            self._pipelines += 1
            try:
                result = call(*args, **kwargs)
            except BaseException:
                self._sample = None
                raise
            finally:
                self._pipelines -= 1
            if outermost:
                sample, self._sample = self._sample, None
                self._next += 1
                sample.finish(result)
            return result

        return observed

    def around_rehearsal(self, prepare):
        @functools.wraps(prepare)
        def rehearsal(*args, **kwargs):
            self._rehearsals += 1
            try:
                return prepare(*args, **kwargs)
            finally:
                self._rehearsals -= 1

        return rehearsal

    def around_step(self, step):
        @functools.wraps(step)
        def observed(*args, **kwargs):
            self._schedulers += 1
            try:
                result = step(*args, **kwargs)
            finally:
                self._schedulers -= 1
            if self._schedulers == 0 and self._sample is not None:
                self._sample.step_done(result)
            return result

        return observed

    # sends

    def looks(self) -> bool:
        """Whether the sends of the running sample are looked at; the same on every rank."""
        return self._sample is not None and self._sample.looks

    def sent(self, place, section, collective, exact, received):
        """One send: ``exact`` [B, N, C] and what receivers make of it, ``received`` [B, N, C]; B blocks for peers."""
        self._sample.sent(place, section, collective, exact, received)


class _Sample:
    def __init__(self, number, options, identify, bytes_sent):
        from .measures import Measures  # imports torch, which the pipeline has imported by now

        self.looks = number < options["measureSamples"] or options["record"] is not None
        self._number, self._options = number, options
        self._identify, self._bytes_sent = identify, bytes_sent
        self._bytes_before = bytes_sent()
        self._began = self._denoised = time.perf_counter()
        self._steps = 0
        self._latents = []
        self._measures = Measures()
        self._recorded = {}

    def sent(self, place, section, collective, exact, received):
        self._measures.add(place, section, collective, exact, received)
        wanted = self._options["record"]
        if wanted is None or section.role not in wanted["roles"]:
            return
        if within(place.layer, wanted["layers"]) and within(place.step, wanted["steps"]):
            name = f"{place.transformer}.{place.layer}|{section.role}|{collective}|{place.branch}"
            self._recorded[name] = exact[:, :: wanted["tokenStride"]].detach().cpu().clone()

    def step_done(self, result):
        import torch

        latents = result[0] if isinstance(result, tuple) else getattr(result, "prev_sample", result)
        if self._options["outputs"] and isinstance(latents, torch.Tensor):
            self._latents.append(latents.detach().cpu().clone())
        if self._recorded:
            self._save(f"trace-{self._steps:03d}.safetensors", self._recorded)
            self._recorded = {}
        self._steps += 1
        self._denoised = time.perf_counter()

    def finish(self, result):
        seconds = time.perf_counter() - self._began
        rank, world_size = self._identify()
        if self._latents:
            import torch

            self._save("latents.safetensors", {"latents": torch.stack(self._latents)})
        if self._options["outputs"]:
            _write_outputs(self._folder(), result)
        raw, wire = (now - before for now, before in zip(self._bytes_sent(), self._bytes_before))
        content = {
            "rank": rank,
            "worldSize": world_size,
            "steps": self._steps,
            "seconds": seconds,
            "denoisingSeconds": self._denoised - self._began,
            "measured": self.looks,
            "rawBytes": raw,
            "wireBytes": wire,
            **self._measures.content(),
        }
        path = os.path.join(self._folder(), "measures.json")
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(content, file)
        os.replace(path + ".new", path)

    def _folder(self):
        folder = os.path.join(self._options["folder"], f"sample-{self._number:04d}", f"rank-{self._identify()[0]}")
        os.makedirs(folder, exist_ok=True)
        return folder

    def _save(self, name, tensors):
        from safetensors.torch import save_file

        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, os.path.join(self._folder(), name))


def _write_outputs(folder, result):
    """``output-<n>.png`` or ``.npy`` of what a pipeline returned; latents and other results are left alone."""
    pictures = getattr(result, "images", None)
    clips = getattr(result, "frames", None)
    if pictures is not None and len(pictures):
        for index, picture in enumerate(_arrays(pictures, 3)):
            from PIL import Image

            Image.fromarray(picture).save(os.path.join(folder, f"output-{index}.png"))
    elif clips is not None and len(clips):
        import numpy

        for index, clip in enumerate(_arrays(clips, 4)):
            numpy.save(os.path.join(folder, f"output-{index}.npy"), clip)


def _arrays(batch, dimensions):
    """uint8 arrays [H, W, 3] or [F, H, W, 3] out of what diffusers returns: PIL pictures, numpy or torch in [0, 1]."""
    import numpy
    import torch

    for entry in batch:
        if isinstance(entry, torch.Tensor):
            if entry.ndim != dimensions:
                return
            # channels stand before height and width
            entry = entry.detach().float().cpu().movedim(-3, -1).numpy()
        array = numpy.stack([numpy.asarray(frame) for frame in entry]) if isinstance(entry, list) else numpy.asarray(entry)
        if array.ndim != dimensions or array.shape[-1] != 3:
            return  # output_type="latent", or something that is no picture
        if array.dtype != numpy.uint8:
            array = (array.clip(0.0, 1.0) * 255.0).round().astype(numpy.uint8)
        yield array
