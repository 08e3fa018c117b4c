"""An object of a class that lives in a notebook: cloudpickle and dill write the class itself, not its name."""

import cloudpickle
import dill
import numpy as np


class Tagger:
    def __init__(self):
        self.weights = np.arange(3.0)
        self.scale = lambda value: value * 2


if __name__ == "__main__":
    with open("tagger.cloudpickle", "wb") as file:
        cloudpickle.dump(Tagger(), file, protocol=4)
    with open("tagger.dill", "wb") as file:
        dill.dump(Tagger(), file, protocol=4)
