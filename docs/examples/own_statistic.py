"""A statistic of one's own: norms of the outputs of attention heads. CONTRIBUTING.md says how to make it known."""

from massact.extract import Statistic
from massact.extract.quantity import Quantity, mean_of, ratio_of
from massact.extract.statistic import HEAD_OUTPUTS, Array


class HeadNorms(Statistic):
    """The mean norm of each attention head's output over positions, and its norm at the first token."""

    name = "head_norms"
    hooks = (HEAD_OUTPUTS,)
    axes = ("sequence", "layer", "head")
    arrays = {
        "norm": Array("float32", "mean norm of a head's output"),
        "first": Array("float32", "norm of a head's output at the first token"),
    }
    quantities = {
        "head_norm": Quantity("norm of a head's output", "mean over positions", mean_of("norm")),
        "head_share": Quantity("first token's share", "first over mean", ratio_of("first", "norm"), fitted=False),
    }

    def reduce(self, block):
        norms = block.heads().float().norm(dim=-1)
        return {"norm": norms.mean(dim=1), "first": norms[:, 0]}
