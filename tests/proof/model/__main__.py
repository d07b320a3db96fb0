"""`python -m tests.proof.model`: every state of the books' protocol, then a shortest way to harm for each planted fault.

With --all also the large scenarios (minutes, gigabytes). Exits 1 when the protocol breaks a promise, or a fault breaks none.
"""

import sys

from tests.proof.model.run import HEADER, row, run
from tests.proof.model.scenarios import LARGE, PLANTED, SMALL
from tests.proof.model.words import tell


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--all"]):
        print("python -m tests.proof.model [--all]", file=sys.stderr)
        return 2
    failures, states, transitions = 0, 0, 0
    print("The protocol as it is: every state of each scenario\n", HEADER, sep="\n", flush=True)
    for scenario in SMALL + LARGE if arguments else SMALL:
        books, explored = run(scenario)
        states, transitions = states + explored.states, transitions + explored.transitions
        print(row(scenario.name, explored), flush=True)
        if explored.broken is not None:
            failures += 1
            print(tell(books, explored.broken))
    print(f"{states:10,} {transitions:12,} {'':15}  in all\n\nWith one rule left out: a shortest way to a broken promise")
    for planted in PLANTED:
        books, explored = run(planted.scenario, planted.fault)
        print(f"\n{planted.fault.name}, in: {planted.scenario.name}")
        if explored.broken is None:
            failures += 1
            print("NOT FOUND: the model does not see this fault")
        else:
            print(tell(books, explored.broken), flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
