"""Choose questions so that the answers to each form of question, and to each text, come about equally often."""

from collections import Counter, defaultdict
from collections.abc import Hashable

from numpy.random import Generator

from .descriptions import describe_all
from .questions import ASKERS, MAX_WORDS, Question
from .sampling import pick, random_round, shuffled
from .world import Scene

_ANSWERS = 10
_LEAST_AGREEMENT = 9
#: How far the rarest answer to a form of question may fall behind the one that is asked for next.
_TOLERANCE = 1


class Balance:
    """Remembers how often each answer was given, by form of question and by text."""

    def __init__(self) -> None:
        """Start with nothing given."""
        self._given: dict[Hashable, Counter[str]] = defaultdict(Counter)

    def excess(self, question: Question) -> tuple[int, int]:
        """Return how often its answer came beyond the rarest one, for the question's form and for its text."""
        by_pattern, by_text = (self._excess(key, question) for key in (question.pattern, question.text))
        return by_pattern, by_text

    def add(self, question: Question) -> None:
        """Remember a question."""
        self._given[question.pattern][question.answer] += 1
        self._given[question.text][question.answer] += 1

    def _excess(self, key: Hashable, question: Question) -> int:
        given = self._given[key]
        return given[question.answer] - min(given[answer] for answer in question.valid)


def ask(scene: Scene, balance: Balance, rng: Generator) -> list[Question]:
    """Choose about ten different questions about a scene and add them to the balance."""
    described = describe_all(scene.objects)
    chosen: dict[str, Question] = {}
    for asker, mean in ASKERS.items():
        number = random_round(rng, mean)
        candidates = list(asker(described)) if number else []
        for _ in range(number):
            question = _choose([item for item in candidates if item.text not in chosen], balance, rng)
            if question is not None:
                balance.add(question)
                chosen[question.text] = question
    return shuffled(rng, list(chosen.values()))


def ten_answers(question: Question, rng: Generator) -> list[str]:
    """Return the answers of ten people, nine or all of whom are right."""
    wrong = [answer for answer in question.valid if answer != question.answer]
    agreeing = int(rng.integers(_LEAST_AGREEMENT, _ANSWERS, endpoint=True))
    return shuffled(rng, [question.answer] * agreeing + [pick(rng, wrong) for _ in range(_ANSWERS - agreeing)])


def _choose(candidates: list[Question], balance: Balance, rng: Generator) -> Question | None:
    """Return a question of a random form whose answer is the most wanted, or none if all would unbalance the forms."""
    for form in shuffled(rng, sorted({item.pattern for item in candidates})):
        fitting = shuffled(rng, [item for item in candidates if item.pattern == form and _is_short(item)])
        best = min(fitting, key=balance.excess, default=None)
        if best is not None and balance.excess(best)[0] <= _TOLERANCE:
            return best
    return None


def _is_short(question: Question) -> bool:
    return len(question.text.removesuffix("?").split()) <= MAX_WORDS
