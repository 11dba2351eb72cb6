"""A site's call is laid out once and then repeated; whatever makes it another one has it laid out anew."""

import gc
import weakref

import pytest
import torch
from exchanges import slowly_varying

from cfx_shim.base_store import BaseStore
from cfx_shim.calls import ALL_GATHER, ALL_TO_ALL, Calls
from cfx_shim.coding import Section
from cfx_shim.collectives import Group
from cfx_shim.plan import Treatment
from cfx_shim.progress import Place
from cfx_shim.telemetry import Telemetry

GROUP = Group(None, "g", 0, (0, 1))
BINARY, LM2 = Treatment("binary", 1, True), Treatment("lm2", 2, True)


class Site:
    """One rank's sends at one place, whose messages come back to it."""

    def __init__(self, kind=ALL_TO_ALL):
        self.bases, self.telemetry, self.kind = BaseStore(), Telemetry(), kind
        self.calls = Calls(self.bases, self.telemetry)

    def send(self, step, treatment=BINARY, tokens=6, warm=None, dtype=torch.float32, branch=0):
        shape = (2 if self.kind is ALL_TO_ALL else 1, tokens, 16)
        sections = [
            Section(role, slowly_varying(0, step, role, shape, dtype), treatment) for role in "kv"
        ]
        place = Place(0, step, branch, "Model", 0)
        call = self.calls.open(place, sections, GROUP, self.kind, step == 0 if warm is None else warm)
        call.writer.write()
        call.writer.keep()
        call.receive.copy_(call.send.expand_as(call.receive))
        call.reader.read()
        call.done()
        return call


@pytest.mark.parametrize("kind", [ALL_TO_ALL, ALL_GATHER], ids=lambda kind: kind.name)
@pytest.mark.parametrize("treatment", [BINARY, LM2], ids=lambda each: each.codec)
def test_after_the_keyframe_a_site_repeats_one_call(kind, treatment):
    site = Site(kind)
    calls = [site.send(step, treatment) for step in range(5)]
    assert calls[0] is not calls[1]
    assert all(call is calls[1] for call in calls[2:])
    counted = site.telemetry.counters("Model.0", "k", kind.name, treatment.codec)
    assert (counted.calls, counted.keyframes, counted.compressed) == (5, 1, 4)


def test_equal_treatments_need_not_be_the_same_object():
    site = Site()
    site.send(0)
    assert site.send(1, Treatment("binary", 1, True)) is site.send(2, Treatment("binary", 1, True))


@pytest.mark.parametrize(
    "change",
    [{"treatment": LM2}, {"treatment": Treatment("int2", 1, True)}, {"tokens": 7}, {"warm": True}, {"dtype": torch.bfloat16}],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_a_call_has_it_laid_out_anew(change):
    site = Site()
    site.send(0)
    before = site.send(1)
    call = site.send(2, **change)
    assert call is not before
    # and what comes after it is like one that was never anything else
    other = Site()
    other.send(0, **{"warm": True} | change)
    for step in (1, 2):
        kind = {key: value for key, value in change.items() if key != "warm"}
        assert [each.keyframe for each in site.send(2 + step, **kind).sections] == [
            each.keyframe for each in other.send(step, **kind).sections
        ]


def test_dropped_bases_are_seen_at_once():
    site = Site()
    for step in range(3):
        site.send(step)
    site.bases.drop_group("g")
    assert all(section.keyframe for section in site.send(3).sections)
    site.bases.free()
    assert all(section.keyframe for section in site.send(4).sections)
    assert not any(section.keyframe for section in site.send(5).sections)


def test_branches_have_calls_of_their_own():
    site = Site()
    for step in range(2):
        kept = [site.send(step, branch=branch) for branch in (0, 1)]
    again = [site.send(2, branch=branch) for branch in (0, 1)]
    assert again[0] is kept[0] and again[1] is kept[1] and kept[0] is not kept[1]


def test_a_history_is_taken_up_when_it_is_old_enough_and_then_repeated():
    previous = Treatment("lm2", 2, True, statistics="previous")
    site = Site()
    taken = [site.send(step, previous) for step in range(6)]
    assert [call.sections[0].statistics for call in taken] == ["exact"] * 3 + ["previous"] * 3
    assert taken[3] is taken[4] is taken[5]


def test_what_was_sent_is_not_held():
    site = Site()
    site.send(0)
    sections = [Section("k", torch.randn(2, 6, 16), BINARY)]
    call = site.calls.open(Place(0, 1, 0, "Model", 1), sections, GROUP, ALL_TO_ALL, False)
    call.writer.write()
    call.reader.read()
    call.done()
    seen = weakref.ref(sections[0].blocks)
    del sections
    gc.collect()
    assert seen() is None
