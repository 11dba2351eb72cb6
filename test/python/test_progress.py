"""Sequences of events and the places they give."""

import pytest

from cfx_shim.progress import FORWARDS_WITHOUT_STEP, Progress


class Watched:
    """A ``Progress`` with the events it raised, and the denoising loops of this world in short form."""

    def __init__(self):
        self.events = []
        self.progress = Progress(
            lambda generation: self.events.append(("begin", generation)),
            lambda generation, steps: self.events.append(("end", generation, steps)),
            lambda generation, step: self.events.append(("step", generation, step)),
        )

    def forward(self, transformer="Model", layers=2):
        """Places of the attention calls of one forward, as (generation, step, branch, transformer, layer)."""
        places = []
        self.progress.forward_begin(transformer)
        for _ in range(layers):
            self.progress.attention_begin()
            place = self.progress.place()
            places.append((place.generation, place.step, place.branch, place.transformer, place.layer))
            self.progress.attention_end()
        self.progress.forward_end()
        return places

    def scheduler_step(self):
        self.progress.scheduler_begin()
        self.progress.scheduler_end()


def test_one_scheduler_gives_steps_and_layers_from_zero():
    us = Watched()
    us.progress.pipeline_begin()
    us.progress.timesteps_set()
    places = []
    for _ in range(3):
        places += us.forward()
        us.scheduler_step()
    us.progress.pipeline_end()
    assert places == [(0, step, 0, "Model", layer) for step in range(3) for layer in range(2)]
    assert us.events == [("begin", 0), ("step", 0, 1), ("step", 0, 2), ("step", 0, 3), ("end", 0, 3)]


def test_two_forwards_in_a_step_are_two_branches_in_every_step():
    us = Watched()
    for step in range(2):
        assert us.forward(layers=1) + us.forward(layers=1) == [(0, step, 0, "Model", 0), (0, step, 1, "Model", 0)]
        us.scheduler_step()


def test_two_transformers_count_their_branches_apart():
    us = Watched()
    for step in range(2):
        assert us.forward("A", 1) + us.forward("B", 1) + us.forward("A", 1) == [
            (0, step, 0, "A", 0),
            (0, step, 0, "B", 0),
            (0, step, 1, "A", 0),
        ]
        us.scheduler_step()


def test_two_schedulers_that_step_after_one_another_make_one_step():
    us = Watched()
    for _ in range(2):
        us.forward()
        us.scheduler_step()
        us.scheduler_step()
    assert us.forward(layers=1) == [(0, 2, 0, "Model", 0)]


def test_a_scheduler_that_steps_through_another_makes_one_step():
    us = Watched()
    us.forward()
    us.progress.scheduler_begin()
    us.scheduler_step()
    assert us.progress.step == 0
    us.progress.scheduler_end()
    assert us.progress.step == 1


def test_a_scheduler_step_before_any_forward_is_no_step():
    us = Watched()
    us.scheduler_step()
    assert us.forward(layers=1) == [(0, 0, 0, "Model", 0)]


def test_set_timesteps_twice_before_the_first_forward_makes_one_generation():
    us = Watched()
    us.progress.timesteps_set()
    us.progress.timesteps_set()
    us.forward()
    us.scheduler_step()
    assert us.events == [("begin", 0), ("step", 0, 1)]


def test_set_timesteps_alone_begins_the_next_generation_from_step_zero():
    us = Watched()
    us.progress.timesteps_set()
    us.forward()
    us.scheduler_step()
    us.progress.timesteps_set()
    assert us.events[-1] == ("end", 0, 1)
    assert us.forward(layers=1) == [(1, 0, 0, "Model", 0)]


def test_a_pipeline_in_a_pipeline_does_not_end_the_outer_ones_generation():
    us = Watched()
    us.progress.pipeline_begin()
    us.forward()
    us.scheduler_step()
    us.progress.pipeline_begin()
    us.progress.pipeline_end()
    assert us.forward(layers=1) == [(0, 1, 0, "Model", 0)]
    us.progress.pipeline_end()
    assert us.events[-1] == ("end", 0, 1)


def test_a_preparing_call_is_a_generation_of_its_own():
    us = Watched()
    for steps in (1, 3):
        us.progress.pipeline_begin()
        us.progress.timesteps_set()
        for _ in range(steps):
            us.forward()
            us.scheduler_step()
        us.progress.pipeline_end()
    assert [event for event in us.events if event[0] != "step"] == [("begin", 0), ("end", 0, 1), ("begin", 1), ("end", 1, 3)]


def test_a_pipeline_call_without_any_forward_is_no_generation():
    us = Watched()
    us.progress.pipeline_begin()
    us.progress.pipeline_end()
    assert us.events == []


def test_ending_twice_is_ending_once():
    us = Watched()
    us.forward()
    us.progress.end_generation()
    us.progress.end_generation()
    assert us.events == [("begin", 0), ("end", 0, 0)]


def test_without_a_scheduler_each_forward_is_a_step_once_that_is_clear():
    us = Watched()
    places = [us.forward(layers=1)[0] for _ in range(FORWARDS_WITHOUT_STEP + 3)]
    early, late = places[:FORWARDS_WITHOUT_STEP], places[FORWARDS_WITHOUT_STEP:]
    assert early == [(0, 0, branch, "Model", 0) for branch in range(FORWARDS_WITHOUT_STEP)]
    assert late == [(0, step, 0, "Model", 0) for step in (1, 2, 3)]
    assert us.progress.stepless
    us.progress.timesteps_set()
    us.forward()
    assert not us.progress.stepless


def test_many_branches_with_a_scheduler_are_not_taken_for_steps():
    us = Watched()
    for step in range(2):
        for branch in range(FORWARDS_WITHOUT_STEP):
            assert us.forward(layers=1) == [(0, step, branch, "Model", 0)]
        us.scheduler_step()
    assert not us.progress.stepless


def test_an_attention_call_is_open_from_its_inputs_to_its_output():
    us = Watched()
    us.progress.forward_begin("Model")
    assert us.progress.in_forward and not us.progress.attention_open
    us.progress.attention_begin()
    assert us.progress.attention_open
    us.progress.attention_end()
    assert not us.progress.attention_open
    us.progress.attention_begin()
    us.progress.forward_end()
    assert not us.progress.attention_open and not us.progress.in_forward


def test_places_are_values():
    us = Watched()
    us.forward()
    place = us.progress.place()
    assert place == us.progress.place() and hash(place) == hash(us.progress.place())
    with pytest.raises(AttributeError):
        place.step = 3
