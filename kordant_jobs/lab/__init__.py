"""For developers: benches, chaos, fuzzing, the demo's world, and fakes of outside parties.
Benches and fuzzers are not in the wheel.

No product module imports this package.
"""
