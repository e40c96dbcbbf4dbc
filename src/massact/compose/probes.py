"""The probe of a configuration: its text, in the tokens of the configured model."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from massact.checkpoints.hub_dataset import HubDataset, fetch_files
from massact.checkpoints.reach import endpoint_named, hub_is_offline, reachable
from massact.checkpoints.source import CheckpointStatus, SourceError
from massact.compose.stated import check_architecture
from massact.config import Config
from massact.errors import CheckpointError, ConfigError
from massact.extract.own_probe import LONGEST, RANDOM, file_probe, random_probe, text_probe
from massact.extract.probe import CORPUS, REDPAJAMA, REDPAJAMA_FILES, Probe, chunk, encode, sampled_documents
from massact.settings import TEXT_FILES
from massact.shipped import corpus_path

log = logging.getLogger("massact")


def probe_of(config: Config, folder: Path) -> Probe:
    """The probe text in the model's own tokens.

    Parameters
    ----------
    folder
        Has the model's tokenizer, and a config.json that is checked against the configuration.

    Raises
    ------
    ConfigError
        When the checkpoints have another architecture than configured, or the text is too short.
    """
    numbers = check_architecture(config, folder)
    context, own, wanted = numbers.get("context"), config.model.probe, config.probe
    length = wanted.length or (min(context or LONGEST, LONGEST) if own is None else own.length)
    if length < 2:
        raise ConfigError(f"probe.length = {length} leaves nothing to predict", "give at least 2 tokens")
    if context is not None and length > context:
        raise ConfigError(
            f"probe.length = {length}, but {folder / 'config.json'} says the model reads {context} tokens",
            f"set probe.length={context} or less",
        )
    size = {"sequences": wanted.sequences, "length": length}
    if wanted.text == RANDOM:
        if "vocab_size" not in numbers:
            raise ConfigError(f"{folder / 'config.json'} states no vocab_size", "use probe.text=FILE.npy")
        return random_probe(numbers["vocab_size"], **size)
    if Path(wanted.text).suffix in TEXT_FILES:
        return file_probe(Path(wanted.text), folder, **size)
    name, text, source = _text(config)
    if own is None:
        return replace(text_probe(folder, text, name=name, **size), source=source)
    probe = chunk(
        encode(folder / "tokenizer.json", text),
        **size,
        first_token=own.first_token,
        text=name,
    )
    return replace(probe, source=source)


def _text(config: Config) -> tuple[str, str, str]:
    """The name of the probe's text, the text, and the dataset it was fetched from (empty: the text is shipped).

    Raises
    ------
    CheckpointError
        When RedPajama is requested and cannot be fetched.
    """
    probe = config.probe
    use_redpajama = probe.text == "redpajama" or (probe.text == "auto" and config.model.source == "pythia")
    if use_redpajama and probe.text == "auto" and not hub_is_offline() and not reachable(endpoint_named()):
        log.warning("RedPajama cannot be reached: %s is probed with the shipped text", config.model.name)
        use_redpajama = False
    if use_redpajama:
        sample = _redpajama(config)
        if sample is not None:
            return REDPAJAMA, *sample
        log.warning("RedPajama is not available here: %s is probed with the shipped text", config.model.name)
    from massact.train.corpus import read_works, split_works

    _, held_out = split_works(read_works(corpus_path(probe.corpus)), probe.held_out_works)
    return CORPUS, "\n\n".join(held_out), ""


def _redpajama(config: Config) -> tuple[str, str] | None:
    """The paper's text and its commit; None if the text is `auto` and this hub, or the offline cache, has no copy."""
    probe = config.probe
    dataset = HubDataset.from_environment(probe.dataset, probe.dataset_revision, Path(config.paths.records))
    try:
        fetched = fetch_files(dataset, lambda name: name in REDPAJAMA_FILES)
    except SourceError as error:
        unknown = error.fatal and error.status is CheckpointStatus.UNREACHABLE  # this hub has no such repository
        absent = unknown or dataset.offline or error.status is CheckpointStatus.REVISION_MISSING
        if probe.text == "auto" and absent and error.status is not CheckpointStatus.CORRUPT:
            return None
        raise _unreadable(probe.dataset, error.what) from None
    lacking = sorted({*REDPAJAMA_FILES}.difference(fetched.names))
    if lacking:
        if probe.text == "auto" and dataset.offline:
            return None
        raise _unreadable(probe.dataset, f"{fetched.commit} has no {lacking[0]}")
    paths = [fetched.snapshot / name for name in REDPAJAMA_FILES]
    text = sampled_documents(paths, documents=probe.documents, seed=probe.document_seed)
    return text, f"{probe.dataset}@{fetched.commit}"


def _unreadable(dataset: str, why: str) -> CheckpointError:
    return CheckpointError(f"{dataset} cannot be read ({why})", "connect to the Hub, or use probe=corpus")
