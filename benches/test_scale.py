"""python3 -m unittest benches/test_scale.py: the simulation against values by hand."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import scale  # noqa: E402

RELIABLE = ["--hours-between-failures", "1e12", "--start", "0"]


class Scale(unittest.TestCase):
    def test_without_failures_time_is_photos_over_rate(self):
        # 10 photos a second on two cores, two machines, four shards of 1000: 2000 photos each, 200 s.
        options = scale.parse(
            ["--photos", "4000", "--shard", "1000", "--machines", "2", "--cores", "2", "--milliseconds", "100"]
            + ["--efficiency", "1", "--network", "1e12"] + RELIABLE
        )
        end, worked, failures = scale.simulate(options, min(scale.rate(options)))
        self.assertAlmostEqual(end, 200)
        self.assertAlmostEqual(worked, 400)
        self.assertEqual(failures, 0)

    def test_the_network_limits_many_machines(self):
        options = scale.parse(["--machines", "1000", "--network", "1e9", "--photo-bytes", "1e6"])
        self.assertAlmostEqual(scale.rate(options)[1], 1)
        self.assertEqual(scale.plan(options)["limited_by"], "storage's network")

    def test_failures_cost_time_and_are_the_same_for_a_seed(self):
        sound = scale.plan(scale.parse(RELIABLE))
        arguments = ["--hours-between-failures", "0.5", "--seed", "7"]
        one, other = (scale.plan(scale.parse(arguments)) for _ in range(2))
        self.assertEqual(one, other)
        self.assertGreater(one["failures"], 0)
        self.assertGreater(one["core_hours"], sound["core_hours"])

    def test_a_remainder_is_a_shard(self):
        self.assertEqual(scale.plan(scale.parse(["--photos", "100001", "--shard", "50000"]))["shards"], 3)

    def test_bytes_are_those_of_records_and_maps(self):
        figures = scale.plan(scale.parse(["--photos", "1e6", "--keep-maps", "--prompts", "2"]))
        self.assertEqual(figures["written_terabytes"], round((2700 + 2 * 912) * 1e6 / 1e12, 4))
        self.assertEqual(figures["result_files"], 2_000_000)


if __name__ == "__main__":
    unittest.main()
