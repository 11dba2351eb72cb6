"""Where steps and generations begin and end: the denoising loop of diffusers and of xDiT's copies of it.

Every scheduler's ``set_timesteps`` and ``step`` and every pipeline's ``__call__`` is wrapped as its class is created,
so that no pipeline is edited and no class is missed.

Upstream: diffusers ``SchedulerMixin``, ``DiffusionPipeline``; xfuser ``xFuserSchedulerBaseWrapper``,
``xFuserPipelineBaseWrapper``.
"""

import functools


def arm(hooks, session):
    progress = session.progress
    observer = session.observer
    schedulers = {"set_timesteps": _after(progress.timesteps_set), "step": _around(progress.scheduler_begin, progress.scheduler_end)}
    pipelines = {"__call__": _around(progress.pipeline_begin, progress.pipeline_end)}
    if observer is not None:
        schedulers["step"] = _both(schedulers["step"], observer.around_step)
        pipelines = {"__call__": _both(pipelines["__call__"], observer.around_pipeline), "prepare_run": observer.around_rehearsal}
    for module, name, wrappers in (
        ("diffusers.schedulers.scheduling_utils", "SchedulerMixin", schedulers),
        ("diffusers.pipelines.pipeline_utils", "DiffusionPipeline", pipelines),
        ("xfuser.model_executor.schedulers.base_scheduler", "xFuserSchedulerBaseWrapper", schedulers),
        ("xfuser.model_executor.pipelines.base_pipeline", "xFuserPipelineBaseWrapper", pipelines),
    ):
        hooks.arm(module, lambda loaded, name=name, wrappers=wrappers: wrap_classes(getattr(loaded, name), wrappers))


def wrap_classes(base, wrappers):
    """Replace methods named in ``wrappers`` in ``base`` and in every class derived from it from now on, where defined."""
    _wrap_methods(base, wrappers)
    inherited = base.__dict__.get("__init_subclass__")

    def __init_subclass__(cls, **kwargs):
        if inherited is not None:
            inherited.__get__(None, cls)(**kwargs)
        else:
            super(base, cls).__init_subclass__(**kwargs)
        _wrap_methods(cls, wrappers)

    base.__init_subclass__ = classmethod(__init_subclass__)


def _wrap_methods(cls, wrappers):
    for name, wrap in wrappers.items():
        method = cls.__dict__.get(name)
        if callable(method) and not getattr(method, "__isabstractmethod__", False):
            setattr(cls, name, wrap(method))


def _both(inner, outer):
    return lambda method: outer(inner(method))


def _after(event):
    def wrap(method):
        @functools.wraps(method)
        def call(*args, **kwargs):
            result = method(*args, **kwargs)
            event()
            return result

        return call

    return wrap


def _around(begin, end):
    def wrap(method):
        @functools.wraps(method)
        def call(*args, **kwargs):
            begin()
            try:
                return method(*args, **kwargs)
            finally:
                end()

        return call

    return wrap
