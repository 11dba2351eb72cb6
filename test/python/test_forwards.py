"""Which transformer an attention call belongs to, found from the stack."""

import gc
import weakref

import pytest
import torch

from cfx_shim.forwards import Forwards
from cfx_shim.progress import Progress
from cfx_shim.telemetry import Telemetry


class ModelMixin:
    """Stands in for diffusers' class of this name: what is derived from it is a model."""


class World:
    def __init__(self):
        self.places = []
        self.progress = Progress(lambda *_: None, lambda *_: None, lambda *_: None)
        self.telemetry = Telemetry()
        self.forwards = Forwards(self.progress, self.telemetry)

    def attend(self):
        """What an adapter does at each attention call."""
        self.forwards.ensure()
        self.progress.attention_begin()
        self.places.append(self.progress.place())
        self.progress.attention_end()

    def step(self):
        self.progress.scheduler_begin()
        self.progress.scheduler_end()

    def seen(self):
        return [(place.transformer, place.step, place.branch, place.layer) for place in self.places]

    def notes(self):
        return self.telemetry.message(0, 0, 0, 0, 0, 0)["notes"]


class Block(torch.nn.Module):
    def __init__(self, world):
        super().__init__()
        self.world = world

    def forward(self, x):
        self.world.attend()
        return x + 1


class Transformer(torch.nn.Module, ModelMixin):
    def __init__(self, world, layers=2):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block(world) for _ in range(layers)])

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


X = torch.zeros(1)


@pytest.fixture
def world():
    return World()


def test_layers_count_from_zero_in_every_forward_of_a_step(world):
    model = Transformer(world)
    for _ in range(2):
        model(X)
        world.step()
    assert world.seen() == [("Transformer", step, 0, layer) for step in range(2) for layer in range(2)]


def test_two_forwards_in_the_first_step_are_two_branches(world):
    model = Transformer(world)
    for _ in range(2):
        model(X), model(X)
        world.step()
    assert world.seen() == [
        ("Transformer", step, branch, layer) for step in range(2) for branch in range(2) for layer in range(2)
    ]


def test_the_outermost_model_on_the_stack_counts_not_what_wraps_it(world):
    class Runner(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = Transformer(world, 1)

        def forward(self, x):
            return self.model(x)

    runner = Runner()
    for _ in range(2):
        runner(X)
        world.step()
    assert {name for name, *_ in world.seen()} == {"Transformer"}


def test_a_model_without_the_class_of_diffusers_is_its_outermost_module(world):
    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block(world)

        def forward(self, x):
            return self.block(self.block(x))

    Plain()(X)
    assert world.seen() == [("Plain", 0, 0, 0), ("Plain", 0, 0, 1)]


def test_two_models_of_one_class_have_two_labels_that_stay(world):
    first, second = Transformer(world, 1), Transformer(world, 1)
    for _ in range(2):
        first(X), second(X)
        world.step()
    assert world.seen() == [
        (name, step, 0, 0) for step in range(2) for name in ("Transformer", "Transformer#2")
    ]


def test_an_attention_call_outside_any_module_still_has_a_place(world):
    world.attend()
    assert world.seen() == [("model", 0, 0, 0)]


def test_a_forward_that_raises_does_not_shift_the_next_one(world):
    class Failing(Transformer):
        fail = False

        def forward(self, x):
            out = super().forward(x)
            if self.fail:
                raise RuntimeError("out of memory")
            return out

    model = Failing(world)
    model(X)
    world.step()
    model.fail = True
    with pytest.raises(RuntimeError):
        model(X)
    model.fail = False
    world.progress.timesteps_set()
    world.places.clear()
    model(X)
    assert world.seen() == [("Failing", 0, 0, 0), ("Failing", 0, 0, 1)]


def eager(function, inputs):
    """A backend of torch.compile that runs what was traced as it is."""
    return function


@pytest.mark.parametrize("in_place", [False, True], ids=["torch.compile(model)", "model.compile()"])
def test_a_compiled_model_is_found_named_and_noted(world, in_place):
    torch._dynamo.reset()
    attend = world.attend
    world.attend = torch._dynamo.disable(attend)
    model = Transformer(world)
    if in_place:
        model.compile(backend=eager)
    compiled = model if in_place else torch.compile(model, backend=eager)
    for _ in range(3):
        assert compiled(X).item() == 2
        world.step()
    assert world.seen() == [("Transformer", step, 0, layer) for step in range(3) for layer in range(2)]
    assert world.notes() == ["Transformer is compiled: each compressed exchange is a graph break"]


def test_a_model_that_its_owner_lets_go_of_is_freed():
    progress = Progress(lambda *_: None, lambda *_: None, lambda *_: None)
    forwards = Forwards(progress, Telemetry())

    class Block(torch.nn.Module):
        def forward(self):
            forwards.ensure()

    model = Block()
    for _ in range(2):  # the second forward goes through the hooks
        model()
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
