"""Random states of every kind, and what they draw next: python make.py OUT (any Python and NumPy)."""

import pickle
import sys

import numpy as np

random = np.random
legacy = random.RandomState(3)
legacy.standard_normal()  # the second of the pair stays behind
states = {"legacy": legacy}
if hasattr(random, "Generator"):
    for name in ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"):
        if hasattr(random, name):
            states[name] = random.Generator(getattr(random, name)(5))
            states[name].integers(10, dtype="int32")  # half of 64 bits stays behind
            states[name + " alone"] = getattr(random, name)(7)
    states["seeds"] = random.SeedSequence([4, 2], spawn_key=(1,))
    states["seeds"].spawn(2)
    states["legacy of PCG64"] = random.RandomState(random.PCG64(1))
    states["the same"] = states["PCG64"]
data = pickle.dumps(states, 2)


def draw(state):
    if type(state).__name__ == "SeedSequence":
        return state.generate_state(4).tolist() + state.spawn(1)[0].generate_state(2).tolist()
    if hasattr(state, "lock") and not hasattr(state, "random"):
        state = random.Generator(state)
    if isinstance(state, random.RandomState):
        return state.standard_normal(3).tolist() + state.randint(0, 99, 5).tolist()
    return state.integers(10, size=3, dtype="int32").tolist() + state.random(3).tolist()


drawn = {name: draw(state) for name, state in states.items() if name != "the same"}
with open(sys.argv[1], "wb") as file:
    file.write(data)
    pickle.dump(drawn, file, 2)
