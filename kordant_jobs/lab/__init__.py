"""For developers, not in the wheel: benches, chaos, fuzzing, the demo's invented world, and fakes of outside parties.

No product module imports this package.
"""
