"""Muon: momentum whose matrix updates are made orthogonal (Newton-Schulz), for hidden matrices."""

import torch


def orthogonal(g: torch.Tensor, rounds: int = 5) -> torch.Tensor:
    """The nearest matrix with singular values near one, by a quintic iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[0] > g.shape[1]
    x = g.T if tall else g
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Hidden matrices only; everything else wants AdamW."""

    def __init__(self, parameters, lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["sum"] = torch.zeros_like(p)
                held = state["sum"].lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(held, group["momentum"]))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5)
