"""The decoder, in torch: Qwen3's shape, named as Hugging Face checkpoints name its tensors."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Shape:
    """Sizes of the decoder; `context` is what config.json promises, not what training sees."""

    vocab: int = 4096
    hidden: int = 192
    layers: int = 5
    heads: int = 6
    kv_heads: int = 2
    head_dim: int = 32
    inner: int = 512
    context: int = 32768
    rope_theta: float = 1e6
    norm_eps: float = 1e-6


class Norm(nn.Module):
    """RMSNorm."""

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


def rotate(x, cos, sin):
    """Rotary embedding of [batch, heads, time, dim], halves paired as Hugging Face pairs them."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos + turned * sin


class Attention(nn.Module):
    """Grouped-query attention with a norm on each query and key head."""

    def __init__(self, s: Shape):
        super().__init__()
        self.s = s
        self.q_proj = nn.Linear(s.hidden, s.heads * s.head_dim, bias=False)
        self.k_proj = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=False)
        self.v_proj = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=False)
        self.o_proj = nn.Linear(s.heads * s.head_dim, s.hidden, bias=False)
        self.q_norm = Norm(s.head_dim, s.norm_eps)
        self.k_norm = Norm(s.head_dim, s.norm_eps)

    def forward(self, x, cos, sin, mask):
        batch, time, _ = x.shape
        s = self.s
        q = self.q_norm(self.q_proj(x).view(batch, time, s.heads, s.head_dim)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(batch, time, s.kv_heads, s.head_dim)).transpose(1, 2)
        v = self.v_proj(x).view(batch, time, s.kv_heads, s.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        group = s.heads // s.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.o_proj(out.transpose(1, 2).reshape(batch, time, -1))


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, s: Shape):
        super().__init__()
        self.gate_proj = nn.Linear(s.hidden, s.inner, bias=False)
        self.up_proj = nn.Linear(s.hidden, s.inner, bias=False)
        self.down_proj = nn.Linear(s.inner, s.hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One pre-norm block."""

    def __init__(self, s: Shape):
        super().__init__()
        self.self_attn = Attention(s)
        self.mlp = Mlp(s)
        self.input_layernorm = Norm(s.hidden, s.norm_eps)
        self.post_attention_layernorm = Norm(s.hidden, s.norm_eps)

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    """Everything before the head."""

    def __init__(self, s: Shape):
        super().__init__()
        self.embed_tokens = nn.Embedding(s.vocab, s.hidden)
        self.layers = nn.ModuleList(Layer(s) for _ in range(s.layers))
        self.norm = Norm(s.hidden, s.norm_eps)


class Decoder(nn.Module):
    """The whole model; the head is the embedding (tied)."""

    def __init__(self, s: Shape, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.s = s
        self.model = Body(s)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                out = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, std=0.02 / (2 * s.layers) ** 0.5 if out else 0.02)
        frequencies = torch.arange(0, s.head_dim, 2, dtype=torch.float64) / s.head_dim
        self.register_buffer("frequency", 1.0 / s.rope_theta**frequencies, persistent=False)

    def hidden(self, tokens, positions, mask=None):
        """Final hidden states [batch, time, hidden] of tokens at positions [batch, time].

        `mask` [batch, 1, time, time] is true where a token may look; without one it is causal.
        """
        angle = positions.double()[:, None, :, None] * self.frequency
        angle = torch.cat((angle, angle), dim=-1)
        cos, sin = angle.cos().float(), angle.sin().float()
        x = self.model.embed_tokens(tokens)
        for layer in self.model.layers:
            x = layer(x, cos, sin, mask)
        return self.model.norm(x)

    def logits(self, hidden):
        """Logits of any leading shape of hidden states."""
        return hidden @ self.model.embed_tokens.weight.T
