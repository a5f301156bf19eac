"""The state decides which model predicts for a caller."""

import dataclasses

from tabserve.model import Release
from tabserve.serving import Service


def test_callers_keep_their_model(service: Service, candidate: Release) -> None:
    """The challenger answers its share of the callers, each caller always gets the same model, and a larger share keeps
    the callers of a smaller one. A caller without a key gets the champion."""
    callers = [b"caller %d" % number for number in range(5000)]
    state = service.state()
    assert state.challenger_share == 0.3

    def callers_of_the_challenger(share: float) -> set[bytes]:
        shared = dataclasses.replace(state, challenger_share=share)
        return {caller for caller in callers if shared.model_for(caller).predictor.release is candidate}

    assert 0.27 < len(callers_of_the_challenger(0.3)) / len(callers) < 0.33
    assert callers_of_the_challenger(0.3) == callers_of_the_challenger(0.3)
    assert callers_of_the_challenger(0.05) < callers_of_the_challenger(0.3) < callers_of_the_challenger(0.6)
    assert callers_of_the_challenger(0.0) == set()
    assert callers_of_the_challenger(1.0) == set(callers)
    assert dataclasses.replace(state, challenger_share=1.0).model_for(b"") is state.champion
