import numpy as np
import pandas as pd

from massact.fit import fit_many
from massact.stages.fit import failures
from massact.stages.run import _summary


def test_fits_that_failed_show_their_reason():
    fits = fit_many([0, 1, 2], np.array([[1.0, 2.0, 4.0], [1.0, 3.0, 4.0]])).assign(layer=[0, 1], quantity="ratio")
    (line,) = failures(fits)
    assert "2 of 2 fits failed: few_points: No more points than parameters" in line
    lines = _summary(fits, "mine", "eq9")
    assert all("failed: few_points: No more points" in row for row in lines[1:])
    assert failures(pd.DataFrame({"regime": ["flat"], "status": ["ok"]})) == []
