"""Find the transformer whose forward an attention call belongs to, without touching pipelines.

The first attention call of a transformer looks up the call stack for the outermost model on it and hooks that one
instance; from its second forward on, the hooks say where a forward begins. A model wrapped by ``torch.compile`` is
hooked from outside, so that nothing of ours is traced.
"""

import sys

import torch


class Forwards:
    def __init__(self, progress, telemetry):
        self._progress = progress
        self._telemetry = telemetry
        self._labels = {}
        self._names = {}
        self._first = None

    def ensure(self):
        """Called at each attention call: open a forward if none is. Cheap once the transformer is hooked."""
        if self._progress.in_forward and self._first is None:
            return
        module, compiled = _outermost_model(sys._getframe(1))
        if self._progress.in_forward and module is self._first:
            return
        if id(module) not in self._labels:
            self._adopt(module, compiled)
        self._first = module
        self._progress.forward_begin(self._labels[id(module)][0])

    def _adopt(self, module, compiled):
        name = type(getattr(module, "_orig_mod", module)).__name__ if module is not None else "model"
        self._names[name] = self._names.get(name, 0) + 1
        label = name if self._names[name] == 1 else f"{name}#{self._names[name]}"
        # the module is kept alive with its label, or another could come to live at the same id
        self._labels[id(module)] = (label, module)
        if compiled:
            self._telemetry.note(f"{label} is compiled: each compressed exchange is a graph break")
        if module is None:
            return

        def begin():
            self._first = None
            self._progress.forward_begin(label)

        in_place = getattr(module, "_compiled_call_impl", None)
        if in_place is not None:

            def call(*args, **kwargs):
                begin()
                try:
                    return in_place(*args, **kwargs)
                finally:
                    self._progress.forward_end()

            module._compiled_call_impl = call
            return
        module.register_forward_pre_hook(lambda *_: begin(), prepend=True)
        module.register_forward_hook(lambda *_: self._progress.forward_end())


def _outermost_model(frame):
    """(module, compiled): the outermost diffusers model on the stack, else the outermost module, else None.

    ``compiled``: torch.compile's code stands between it and us.
    """
    outermost = model = None
    compiled = False
    while frame is not None:
        if frame.f_code.co_name.startswith(("compile_wrapper", "torch_dynamo_resume_in")):
            compiled = True
        owner = frame.f_locals.get("self")
        if isinstance(owner, torch.nn.Module):
            outermost = owner
            inner = getattr(owner, "_orig_mod", owner)
            if any(base.__name__ == "ModelMixin" for base in type(inner).__mro__):
                model = owner
        frame = frame.f_back
    return (model if model is not None else outermost), compiled
