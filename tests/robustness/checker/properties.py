"""The properties by name. docs/reliability.md names each beside the sentence that it proves."""

from __future__ import annotations

from collections.abc import Mapping

from .case import Property
from .logs import nothing_breaks
from .reads import (
    all_agree_at_the_end,
    everyone_hears,
    nobody_goes_back,
    nothing_is_refused_that_it_lets_through,
    nothing_passes_that_the_policy_refuses,
    own_write_is_read,
)
from .taken import writes_are_taken
from .writes import compare_and_set, recorded_once, revoked_never_writes

PROPERTIES: Mapping[str, Property] = {
    "compare_and_set": compare_and_set,
    "recorded_once": recorded_once,
    "writes_are_taken": writes_are_taken,
    "nobody_goes_back": nobody_goes_back,
    "everyone_hears": everyone_hears,
    "nothing_passes_that_the_policy_refuses": nothing_passes_that_the_policy_refuses,
    "nothing_is_refused_that_it_lets_through": nothing_is_refused_that_it_lets_through,
    "revoked_never_writes": revoked_never_writes,
    "all_agree_at_the_end": all_agree_at_the_end,
    "own_write_is_read": own_write_is_read,
    "nothing_breaks": nothing_breaks,
}
