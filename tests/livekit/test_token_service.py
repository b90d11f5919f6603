"""Names of rooms and participants on an SFU, as token services make them."""

from tests.livekit.token_service import member_identity, room_alias


def test_names_are_those_of_the_proposal() -> None:
    """Rooms and participants are named as in the test vectors of MSC4195."""
    assert room_alias("!roomid:example.com", "slot1234") == "O8437W3+jmzMVjoIP3tNwbm+XxHQk2iKpOA7aqw3qSc"
    alice = member_identity("@alice:example.com", "DEVICE123", "memberABC")
    assert alice == "J+T45tGruxc+HrUOqJJlyQSV33m728Cme4+vt8/SWrU"
