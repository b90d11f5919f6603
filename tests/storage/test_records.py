"""Groups of recording states."""

import pytest

from storage.records import RecordingState


@pytest.mark.parametrize(
    ("state", "is_open", "is_decided", "may_have_audio", "may_have_episode"),
    [
        (RecordingState.LIVE, True, False, True, False),
        (RecordingState.FINISHING, True, False, True, False),
        (RecordingState.COMPLETE, False, True, True, True),
        (RecordingState.INCOMPLETE, False, True, True, True),
        (RecordingState.EMPTY, False, True, False, False),
        (RecordingState.DELETED, False, False, False, False),
    ],
)
def test_groups_of_states(
    state: RecordingState, *, is_open: bool, is_decided: bool, may_have_audio: bool, may_have_episode: bool
) -> None:
    """Each state is in the groups that its meaning puts it in."""
    assert state.is_open is is_open
    assert state.is_decided is is_decided
    assert state.may_have_audio is may_have_audio
    assert state.may_have_episode is may_have_episode
