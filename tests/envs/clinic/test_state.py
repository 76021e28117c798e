"""What a doctor keeps: whether a claim is held by its source."""

from polymodal.envs.clinic.state import Line, Noted, Seen, supported


def test_provenance_by_hand() -> None:
    lines = [
        Line("I am hot, and I cough."),
        Line("No.", "rash", "no"),
        Line("Here.", kind="lesion", digest="d"),
    ]
    seen = [Seen("d", "lesion", "good", ("lesion: ringed",))]
    claims = {
        Noted("hot", "present", 0, "I am HOT"): True,
        Noted("coughing", "present", 0, "I cough"): True,
        Noted("hot", "present", 0, "I am very hot"): False,
        Noted("hot", "present", 0): False,
        Noted("blindness", "present", 0, "I am hot"): False,
        Noted("rash", "absent", 1, "No."): True,
        Noted("rash", "present", 1, "No."): False,
        Noted("fever", "absent", 1, "No."): False,
        Noted("lesion: ringed", "present", "d"): True,
        Noted("lesion: spotted", "present", "d"): False,
        Noted("lesion: ringed", "present", "e"): False,
        Noted("fever", "present", 9, "hot"): False,
        Noted("fever", "present", 4, "Yes"): True,
        Noted("fever", "present", 6, "Yes"): False,
    }
    lines += [
        Line("", reply="Have you a fever?"),
        Line("Yes."),
        Line("", reply="[plan] For the fever."),
        Line("Yes."),
    ]
    assert supported([*claims], lines, seen) == (*claims.values(),)
