
import attrs, numpy, persist
from persist import ops

@attrs.define(eq=False)
class Net(persist.Versioned, version=3, schema="ournets.Net"):
    weights: numpy.ndarray
    bias: numpy.ndarray
    activation: str = "softmax"
    classes: list | None = None
    version: int = 0

persist.migration(Net, 1, ops.unpack("weights", "bias"))
persist.migration(Net, 2, ops.add("activation", "softmax"))
persist.alias("logreg.LogReg", Net)
persist.alias("mylab.models.linear.SoftmaxClassifier", Net)

@persist.stamp(Net)
def by_shape(state):
    return 1 if isinstance(state, tuple) else 3 if "activation" in state else 2
