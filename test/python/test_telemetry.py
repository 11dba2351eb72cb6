"""Counters and the message they become."""

from cfx_shim.telemetry import Telemetry


def test_counters_of_a_key_are_one_object_and_keys_are_apart():
    telemetry = Telemetry()
    first = telemetry.counters("Model.0", "q", "all_to_all", "binary")
    first.calls += 2
    assert telemetry.counters("Model.0", "q", "all_to_all", "binary") is first
    for other in (
        ("Model.1", "q", "all_to_all", "binary"),
        ("Model.0", "k", "all_to_all", "binary"),
        ("Model.0", "q", "all_gather", "binary"),
        ("Model.0", "q", "all_to_all", "off"),
    ):
        assert telemetry.counters(*other).calls == 0


def test_a_message_holds_all_counters_since_the_start_and_counts_itself():
    telemetry = Telemetry()
    counters = telemetry.counters("Model.0", "q", "all_to_all", "binary")
    counters.calls, counters.compressed, counters.keyframes, counters.raw_bytes, counters.wire_bytes = 5, 4, 1, 100, 30
    first = telemetry.message(0, 3, 3, 64, 7, 8)
    second = telemetry.message(1, 1, 4, 64, 7, 8)
    assert (first["sequence"], second["sequence"]) == (1, 2)
    assert first["sites"] == second["sites"] == [
        {
            "site": "Model.0",
            "role": "q",
            "collective": "all_to_all",
            "codec": "binary",
            "calls": 5,
            "compressed": 4,
            "keyframes": 1,
            "rawBytes": 100,
            "wireBytes": 30,
        }
    ]
    assert (second["generation"], second["step"], second["steps"]) == (1, 1, 4)
    assert (first["baseMemoryBytes"], first["dropped"], first["refused"]) == (64, 7, 8)


def test_before_any_generation_the_message_says_generation_zero():
    assert Telemetry().message(-1, 0, 0, 0, 0, 0)["generation"] == 0


def test_fallbacks_with_one_reason_are_counted_together():
    telemetry = Telemetry()
    for reason in ("here", "there", "here"):
        telemetry.fallback("CFX_NON_FINITE", reason)
    assert telemetry.message(0, 0, 0, 0, 0, 0)["fallbacks"] == [
        {"code": "CFX_NON_FINITE", "reason": "here", "count": 2},
        {"code": "CFX_NON_FINITE", "reason": "there", "count": 1},
    ]


def test_a_note_is_kept_once_and_notes_are_bounded():
    telemetry = Telemetry()
    for number in [*range(100), *range(100)]:
        telemetry.note(f"note {number}")
    notes = telemetry.message(0, 0, 0, 0, 0, 0)["notes"]
    assert notes == [f"note {number}" for number in range(32)]


def test_a_message_does_not_change_when_counting_goes_on():
    telemetry = Telemetry()
    telemetry.note("first")
    message = telemetry.message(0, 0, 0, 0, 0, 0)
    telemetry.note("second")
    assert message["notes"] == ["first"]
