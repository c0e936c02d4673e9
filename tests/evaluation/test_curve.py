"""The picture of a comparison."""

from bidnn.evaluation.curve import look


def test_no_two_of_a_hundred_methods_look_the_same():
    looks = [tuple(look(number).values()) for number in range(100)]
    assert len(set(looks)) == 100
