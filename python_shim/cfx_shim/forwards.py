"""Find the transformer whose forward an attention call belongs to, without touching pipelines.

The first attention call of a transformer looks up the call stack for the outermost model on it and hooks that one
instance; from its second forward on, the hooks say where a forward begins. A model wrapped by ``torch.compile`` is
hooked from outside, so that nothing of ours is traced.
"""

import sys
import weakref

import torch

# stands for the place of attention calls that no module makes
_NO_MODEL = object()


class Forwards:
    def __init__(self, progress, telemetry):
        self._progress = progress
        self._telemetry = telemetry
        # weak: a model that its owner lets go of must not stay in memory for its label
        self._labels = weakref.WeakKeyDictionary()
        self._names = {}
        self._first = None

    def ensure(self):
        """Called at each attention call: open a forward if none is. Cheap once the transformer is hooked."""
        if self._progress.in_forward and self._first is None:
            return
        module, compiled = _outermost_model(sys._getframe(1))
        if self._progress.in_forward and module is self._first:
            return
        self._first = module
        known = "model" if module is _NO_MODEL else self._labels.get(module)
        self._progress.forward_begin(known or self._adopt(module, compiled))

    def _adopt(self, module, compiled):
        """Label and hook ``module``; returns the label."""
        name = type(getattr(module, "_orig_mod", module)).__name__
        self._names[name] = self._names.get(name, 0) + 1
        label = name if self._names[name] == 1 else f"{name}#{self._names[name]}"
        self._labels[module] = label
        if compiled:
            self._telemetry.note(f"{label} is compiled: each compressed exchange is a graph break")

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
        else:
            module.register_forward_pre_hook(lambda *_: begin(), prepend=True)
            module.register_forward_hook(lambda *_: self._progress.forward_end())
        return label


def _outermost_model(frame):
    """(module, compiled): the outermost diffusers model on the stack, else the outermost module, else ``_NO_MODEL``.

    ``compiled``: torch.compile's code stands between it and us.
    """
    outermost, model = _NO_MODEL, None
    compiled = False
    while frame is not None:
        if frame.f_code.co_name.startswith(("compile_wrapper", "torch_dynamo_resume_in")):
            compiled = True
        owner = _self_of(frame)
        if isinstance(owner, torch.nn.Module):
            outermost = owner
            inner = getattr(owner, "_orig_mod", owner)
            if any(base.__name__ == "ModelMixin" for base in type(inner).__mro__):
                model = owner
        frame = frame.f_back
    return (model if model is not None else outermost), compiled


def _self_of(frame):
    """``self`` of a method's frame, else None.

    Other frames are not looked into: up to Python 3.12 a frame keeps what it was asked for, and all it names with it,
    until it ends or is asked again.
    """
    code = frame.f_code
    return frame.f_locals.get("self") if code.co_argcount and code.co_varnames[0] == "self" else None
