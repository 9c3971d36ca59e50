"""Trials by hand: ``python -m benchmarks.by_hand weight_max LunarLander-v3 '{"gamma": 0.99}' --seeds 3000-3001``.

Trains with the shipped settings, some of them changed, and appends every run to ``results/by_hand.jsonl`` as it comes:
the agent, the environment, the changes, the whole settings (older lines have none: their changes are to what was shipped
then), and by seed the mean return over all episodes, over the last 100, and of the greedy episodes after training (null
where it was not kept; a run that diverged has the return of one that learns nothing).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.runs import EVALUATED, EVALUATED_OF, RESULTS
from coagent_rl.training.hyperparameters import load_hyperparameters, override, parse_seeds

FILE = RESULTS / "by_hand.jsonl"
FIRST_SEED = 1000
"""Seeds below are those of the tables, by which nothing may be chosen."""


def trials(agent: str, env_id: str, changes: Mapping[str, Any], seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Train with every seed, and say what came of it.

    Raises:
        ValueError: before anything is trained, for a seed of the tables.
    """
    from coagent_rl.training.run import Options, train

    for seed in seeds:
        if seed < FIRST_SEED:
            raise ValueError(f"The seed {seed} may be one of a table's; settings are chosen by seeds from {FIRST_SEED} on.")
    settings = override(load_hyperparameters(agent, env_id), changes)
    for seed in seeds:
        result = train(agent, env_id, settings, seed, Options(final_eval_episodes=EVALUATED_OF.get(env_id, EVALUATED)))
        returns = result.returns
        scores = float(returns.mean()), float(returns[-100:].mean()), result.summary["final_evaluation"]["mean_return"]
        runs = {str(seed): [round(score, 4) for score in scores]}
        yield {"agent": agent, "env": env_id, "changes": dict(changes), "settings": settings, "runs": runs}


def main(argv: list[str] | None = None) -> None:
    """Run the trials that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("agent")
    parser.add_argument("env_id")
    parser.add_argument("changes", type=json.loads, help="JSON, such as '{\"gamma\": 0.99}'")
    parser.add_argument("--seeds", type=parse_seeds, default=[3000, 3001], help="by default 3000-3001")
    given = parser.parse_args(argv)
    for trial in trials(given.agent, given.env_id, given.changes, given.seeds):
        with FILE.open("a", encoding="utf-8") as file:
            file.write(json.dumps(trial) + "\n")
        print(trial["agent"], trial["env"], json.dumps(trial["changes"]), trial["runs"], flush=True)


if __name__ == "__main__":
    main()
