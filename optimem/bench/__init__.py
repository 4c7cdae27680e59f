"""The benchmarks behind every number in the README; each module runs on its own."""
