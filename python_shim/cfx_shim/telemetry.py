"""Counters of one rank: plain integers, added to at each call, read at step boundaries.

Raw bytes are what this rank would have sent to other ranks, wire bytes what it did send, keyframes, scales and flags
included (design words; schemas/PROTOCOL.md).
"""

from dataclasses import dataclass


@dataclass
class Counters:
    calls: int = 0
    compressed: int = 0
    keyframes: int = 0
    raw_bytes: int = 0
    wire_bytes: int = 0


class Telemetry:
    def __init__(self):
        self._sites = {}
        self._fallbacks = {}
        self._notes = []
        self._sequence = 0

    def counters(self, site: str, role: str, collective: str, codec: str) -> Counters:
        key = (site, role, collective, codec)
        found = self._sites.get(key)
        if found is None:
            found = self._sites[key] = Counters()
        return found

    def bytes_sent(self):
        """(raw, wire) bytes of all sites since the process started."""
        counters = self._sites.values()
        return sum(each.raw_bytes for each in counters), sum(each.wire_bytes for each in counters)

    def fallback(self, code: str, reason: str):
        self._fallbacks[code, reason] = self._fallbacks.get((code, reason), 0) + 1

    def note(self, text: str):
        if text not in self._notes and len(self._notes) < 32:
            self._notes.append(text)

    def message(self, generation: int, step: int, steps: int, base_bytes: int, dropped: int, refused: int) -> dict:
        """The telemetry message: all counters since the process started."""
        self._sequence += 1
        return {
            "type": "telemetry",
            "sequence": self._sequence,
            "generation": max(generation, 0),
            "step": step,
            "steps": steps,
            "sites": [
                {
                    "site": site,
                    "role": role,
                    "collective": collective,
                    "codec": codec,
                    "calls": counters.calls,
                    "compressed": counters.compressed,
                    "keyframes": counters.keyframes,
                    "rawBytes": counters.raw_bytes,
                    "wireBytes": counters.wire_bytes,
                }
                for (site, role, collective, codec), counters in self._sites.items()
            ],
            "fallbacks": [
                {"code": code, "reason": reason, "count": count} for (code, reason), count in self._fallbacks.items()
            ],
            "notes": list(self._notes),
            "baseMemoryBytes": base_bytes,
            "dropped": dropped,
            "refused": refused,
        }
