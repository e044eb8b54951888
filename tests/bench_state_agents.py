"""Measures what the state-based agents spend their time on, each part against a bar of its own.

Run it as ``python -m tests.bench_state_agents`` on a quiet machine: one thread, some ten minutes. Every bench also runs
by itself; what it measures and against what stands at its top.
"""

from __future__ import annotations

from tests import bench_ensemble, bench_mbpo, bench_planners, bench_ppo_part, bench_sac_part

BENCHES = {
    "A soft actor-critic's update": bench_sac_part,
    "An epoch of MBPO's ensemble, and steps sampled from it": bench_ensemble,
    "A plan by CEM of PETS' cartpole": bench_planners,
    "MBPO end to end on InvertedPendulum": bench_mbpo,
    "A PPO update": bench_ppo_part,
}


def main() -> None:
    for title, bench in BENCHES.items():
        print(f"\n{title} ({bench.__name__})", flush=True)
        bench.main()


if __name__ == "__main__":
    main()
