"""How far the student's distribution q is from the teacher's p: pure functions, a figure a token.

Each takes log-probabilities [tokens, outcomes] of student and teacher, over the whole vocabulary or over the teacher's
most likely tokens and one outcome for all others, and returns [tokens].

What speculation pays for is the acceptance a = sum_x min(p(x), q(x)) = 1 - TV(p, q): the chance that a token drawn
from q is kept where the main samples (Leviathan et al., 2211.17192, corollary 3.6).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def softened(log_probabilities: Tensor, temperature: float) -> Tensor:
    """log softmax(logits / T) [tokens, outcomes], from log softmax(logits)."""
    return log_probabilities if temperature == 1.0 else F.log_softmax(log_probabilities / temperature, dim=-1)


def forward_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """sum p (log p - log q). Of distributions softened by T, T^2 times as much keeps the gradients' size (Hinton et
    al., 1503.02531)."""
    return F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)


def reverse_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """sum q (log q - log p): seeks the teacher's modes (MiniLLM, 2306.08543)."""
    return F.kl_div(teacher, student, reduction="none", log_target=True).sum(-1)


def jensen_shannon(student: Tensor, teacher: Tensor, beta: float = 0.5) -> Tensor:
    """b KL(p || m) + (1 - b) KL(q || m) with m = b p + (1 - b) q, 0 < b < 1 (GKD, 2306.13649, equation 1)."""
    middle = torch.logaddexp(teacher + math.log(beta), student + math.log1p(-beta))
    return beta * forward_kl(middle, teacher) + (1 - beta) * forward_kl(middle, student)


def acceptance(student: Tensor, teacher: Tensor) -> Tensor:
    """a = sum min(p, q), from 0 to 1."""
    return torch.minimum(student, teacher).exp().sum(-1)


def total_variation(student: Tensor, teacher: Tensor) -> Tensor:
    """1/2 sum |p - q| = 1 - a (DistillSpec, 2310.08461). Its gradient vanishes where p and q hardly overlap."""
    return 0.5 * (student.exp() - teacher.exp()).abs().sum(-1)


def negative_log_acceptance(student: Tensor, teacher: Tensor) -> Tensor:
    """-log a, the LK loss without a parameter (2602.23881): the gradient of TV, 1 / a times as strong."""
    return -torch.minimum(student, teacher).logsumexp(-1)


def lk(student: Tensor, teacher: Tensor, eta: float = 3.0) -> Tensor:
    """w KL(p || q) + (1 - w) TV(p, q) with w = exp(-eta a), a held constant: the hybrid LK loss (2602.23881).

    Far from the teacher it is the KL divergence, close to it the total variation; eta 3 was its authors' best.
    """
    weight = torch.exp(-eta * acceptance(student, teacher).detach())
    return weight * forward_kl(student, teacher) + (1 - weight) * total_variation(student, teacher)


def truncated_cross_entropy(student: Tensor, labels: Tensor, first: int) -> Tensor:
    """log(1 + sum over j of exp(s_j - s_label)), j all other outcomes but the `first` - 1 best: nearly 0 once the
    label is among the `first` choices, cross-entropy where `first` is 1 (Lapin et al., 1512.00486, equation 14).

    student [tokens, outcomes], logits or log-probabilities; labels [tokens].
    """
    label = student.gather(-1, labels[:, None])
    others = student.scatter(-1, labels[:, None], -torch.inf)
    if first > 1:
        others = others.scatter(-1, others.topk(first - 1, dim=-1).indices, -torch.inf)
    return F.softplus(others.logsumexp(-1) - label[:, 0])
