"""A run's log as pandas pickles it. Run by pandas 1.5 and by 3.1."""

import pickle

import numpy as np
import pandas as pd

if __name__ == "__main__":
    frame = pd.DataFrame(
        {"loss": [0.5, 0.25, 0.125], "step": np.arange(3), "phase": ["train", "train", "test"]},
        index=pd.Index([10, 20, 30], name="batch"),
    )
    with open(f"frame_pandas_{pd.__version__.split('.')[0]}.pkl", "wb") as file:
        pickle.dump(frame, file, 4)
