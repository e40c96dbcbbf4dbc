"""A stage of one's own: the size of the model. CONTRIBUTING.md says how to register it."""

from massact.disk import write_text
from massact.pipeline import Stage

CENSUS = Stage(name="census", module="own_stage")


def run(config, output):
    model, layers = config.model.name, config.model.architecture.n_layers
    write_text(output / "census.csv", f"model,layers\n{model},{layers}\n")
    return [f"{model} has {layers} layers", f"table: {output / 'census.csv'}"]
