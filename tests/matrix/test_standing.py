"""Doubts about a sync token, and answers to a long poll that come early."""

from bot.matrix.standing import ANEW_AGAIN_S, LONGEST_PAUSE_S, Standing

OF_S = 30.0


def at_once(standing: Standing, *, news: bool = False, same_token: bool = True, took_s: float = 0.01) -> float:
    return standing.answered(news=news, same_token=same_token, took_s=took_s, of_s=OF_S)


def test_a_token_that_is_refused_again_and_again_is_doubted() -> None:
    """Only repeated refusals make a token doubtful; an answer, or a refusal without the token, ends the doubt."""
    standing = Standing()
    for doubtful in (False, False, False, True):
        standing.refused(errcode="M_UNKNOWN", with_token=True)
        assert standing.is_doubtful is doubtful
    standing.refused(errcode="M_UNKNOWN", with_token=False)
    assert not standing.is_doubtful
    for _ in range(3):
        standing.refused(errcode="M_UNKNOWN", with_token=True)
    standing.accepted()
    standing.refused(errcode="M_UNKNOWN", with_token=True)
    assert not standing.is_doubtful


def test_a_proxys_refusals_are_believed_later() -> None:
    """Refusals without an errcode, as a proxy sends them, need more repeats."""
    standing = Standing()
    for _ in range(5):
        standing.refused(errcode="", with_token=True)
    assert not standing.is_doubtful
    standing.refused(errcode="", with_token=True)
    assert standing.is_doubtful


def test_an_answer_that_comes_at_once_with_nothing_is_asked_for_ever_more_slowly() -> None:
    """After news or a full long poll there is no pause."""
    standing = Standing(lambda: 0.0)
    pauses = [at_once(standing, same_token=False) for _ in range(20)]
    assert 0.2 < pauses[0] <= 0.5
    assert max(pauses) > LONGEST_PAUSE_S / 3
    assert sum(pauses) > 60
    assert at_once(standing, news=True, same_token=False) == 0
    assert at_once(standing, took_s=29.0) == 0


def test_early_answers_with_the_same_token_make_it_doubtful_once_an_hour() -> None:
    """Early answers with nothing but the same token make it doubtful, as Synapse gives them for a future token."""
    now = [0.0]
    standing = Standing(lambda: now[0])
    for doubtful in (False, False, False, True):
        at_once(standing, took_s=10.0)
        assert standing.is_doubtful is doubtful
    standing.accepted()
    for _ in range(20):
        at_once(standing)
    assert not standing.is_doubtful
    now[0] = ANEW_AGAIN_S
    at_once(standing)
    assert standing.is_doubtful
