"""The networks of a run's rounds: kept where they are small, and asked again as the committees that they were."""

from alutils.datasets import ImageDataset
from alutils.errors import ParameterError
from alutils.models import SplitModel, build_model
from alutils.queries.committee import Committee
from alutils.queries.parts import Dropout
from alutils.queries.query import Query
from alutils.runs.config import RoundsConfig
from alutils.runs.folder import RunFolder
from alutils.runs.schemas import reported
from alutils.seeds import derive_seed
from alutils.training.loop import default_device

MOST_MB = 32  # that the networks of all rounds of a run may need


def keep_networks(config: RoundsConfig, run: RunFolder, number: int, networks: list[SplitModel]) -> None:
    """Save the networks of a round, unless those of all rounds would need more than `MOST_MB`."""
    states = {str(member): network.state_dict() for member, network in enumerate(networks)}
    size = sum(weights.nbytes for state in states.values() for weights in state.values())
    if size * config.rounds <= MOST_MB * 10**6:
        run.save_state(_name(number), states)


def kept_networks(config: RoundsConfig, run: RunFolder, number: int, dataset: ImageDataset) -> list[SplitModel]:
    """Return the networks of a round, in evaluation mode; raise `ParameterError` if the run has not kept them."""
    states = run.load_state(_name(number))
    if states is None:
        reason = f"networks that need more than {MOST_MB} MB a run, and those of earlier versions, are not kept"
        raise ParameterError(f"{run.path} holds no networks of round {number}; {reason}")
    # without pretrained weights, which may be gone
    made = [build_model(config.model, config.outputs(dataset), seed=0, features=dataset.features) for _ in states]
    with reported(run.path / f"{_name(number)}.pt"):
        for network, state in zip(made, states.values(), strict=True):
            network.load_state_dict(state)
    return [network.to(default_device()).eval() for network in made]


def _name(number: int) -> str:
    return f"networks{number}"


def committee_of_round(config: RoundsConfig, query: Query, networks: list[SplitModel], number: int) -> Committee:
    """Return the committee of a round: an ensemble, or one network with dropout."""
    if not query.has_dropout:
        return Committee(networks)
    rate = query.committee.rate if isinstance(query.committee, Dropout) else config.committee_dropout
    return Committee(networks, config.committee_members, rate, derive_seed(config.seed, "committee", number))
