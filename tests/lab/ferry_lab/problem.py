"""What a user of the lab can put right: said in one sentence."""


class LabProblem(Exception):
    """The lab cannot be what was asked for; the text says what is wrong, where, and what would be right."""
