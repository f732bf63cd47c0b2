"""Adam is torch's Adam, step for step; what it saves, torch's reads, and the other way round."""

from typing import Any

import torch
from torch import Tensor, nn

from alutils.training.optimizer import Adam

OPTIONS: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.01, "fused": True}


def trained(optimizer: torch.optim.Optimizer, network: nn.Module, seed: int) -> list[Tensor]:
    """Take three steps, the last one at another rate; return the weights."""
    generator = torch.Generator().manual_seed(seed)
    for rate in (0.1, 0.1, 0.05):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        network(torch.rand(4, 3, generator=generator)).square().mean().backward()
        optimizer.step()
    return [weight.detach().clone() for weight in network.parameters()]


def test_steps_and_states_are_those_of_torch():
    networks = [nn.Linear(3, 2) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    ours, torchs = Adam(networks[0].parameters(), **OPTIONS), torch.optim.Adam(networks[1].parameters(), **OPTIONS)
    torch.testing.assert_close(trained(ours, networks[0], 0), trained(torchs, networks[1], 0), rtol=0, atol=0)
    of_ours, of_torchs = ours.state_dict(), torchs.state_dict()
    torch.testing.assert_close(of_ours, of_torchs, rtol=0, atol=0)
    ours.load_state_dict(of_torchs)
    torchs.load_state_dict(of_ours)
    torch.testing.assert_close(trained(ours, networks[0], 1), trained(torchs, networks[1], 1), rtol=0, atol=0)
    assert ours.step() is None
    assert torch.is_grad_enabled()
