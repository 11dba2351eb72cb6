"""The plan as a rank reads it: cells in order, first match wins."""

import pytest

from cfx_shim.plan import UNTOUCHED, Plan, Treatment


def cell(**changes):
    return {
        "steps": [0, None],
        "layers": [0, None],
        "roles": ["q", "k", "v", "o"],
        "collectives": ["all_to_all", "all_gather"],
        "codec": "binary",
        "residualOrder": 1,
        "feedback": True,
        "keyframeCodec": "identity",
        "baseDtype": "native",
        "statistics": "exact",
        **changes,
    }


def plan(*cells):
    return Plan({"planId": "0" * 16, "policy": "test", "warmupSteps": 3, "cells": list(cells)})


def test_what_no_cell_matches_is_left_to_the_framework():
    assert plan().treatment(0, 0, "q", "all_to_all") is UNTOUCHED
    assert plan(cell(roles=["k"])).treatment(0, 0, "q", "all_to_all") is UNTOUCHED
    assert plan(cell(collectives=["all_gather"])).treatment(0, 0, "q", "all_to_all") is UNTOUCHED


def test_ranges_are_half_open_and_none_means_to_the_last():
    treatment = plan(cell(steps=[2, 4], layers=[1, None])).treatment
    matched = [(step, layer) for step in range(6) for layer in (0, 1, 999) if treatment(step, layer, "q", "all_to_all").codec]
    assert matched == [(2, 1), (2, 999), (3, 1), (3, 999)]


def test_the_first_match_wins_and_off_stops_the_search():
    found = plan(cell(roles=["o"], codec="off"), cell(steps=[5, None], codec="int2"), cell()).treatment
    assert found(7, 0, "o", "all_to_all") is UNTOUCHED
    assert found(7, 0, "q", "all_to_all").codec == "int2"
    assert found(4, 0, "q", "all_to_all").codec == "binary"


def test_residual_order_and_feedback_are_read():
    found = plan(cell(residualOrder=0, feedback=False)).treatment(0, 0, "q", "all_to_all")
    assert found == Treatment("binary", order=0, feedback=False)
    assert plan(cell()).treatment(0, 0, "q", "all_to_all") == Treatment("binary", 1, True)


def test_the_same_question_gets_the_same_object_again():
    asked = plan(cell())
    assert asked.treatment(1, 2, "k", "all_gather") is asked.treatment(1, 2, "k", "all_gather")


def test_an_unknown_codec_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'gzip' is unknown; there are: identity, stale, binary"):
        plan(cell(codec="gzip"))


def test_whether_it_compresses_at_all():
    assert not plan().compresses()
    assert not plan(cell(codec="off")).compresses()
    assert plan(cell(codec="off"), cell(codec="identity")).compresses()
    assert plan(cell()).warmup_steps == 3
