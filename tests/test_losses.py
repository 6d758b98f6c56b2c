"""Chunked losses equal their naive forms in value and gradient."""

import pytest
import torch
import torch.nn.functional as F

from whisper_pair import losses


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(losses, "CHUNK", 3)


def tensors(seed: int, tokens: int = 10):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, 6, generator=generator, requires_grad=True)
    head = torch.randn(17, 6, generator=generator, requires_grad=True)
    teacher = torch.randn(tokens, 8, generator=generator)
    teacher_head = torch.randn(17, 8, generator=generator)
    labels = torch.randint(0, 17, (tokens,), generator=generator)
    return hidden, head, teacher, teacher_head, labels


def same(found, naive, *inputs):
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, naive)
    gradients = torch.autograd.grad(found, inputs, retain_graph=True)
    wanted = torch.autograd.grad(naive, inputs)
    for one, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("tokens", [1, 3, 10])
def test_cross_entropy_is_the_sum_over_tokens(tokens):
    hidden, head, _, _, labels = tensors(0, tokens)
    naive = F.cross_entropy(hidden @ head.T, labels, reduction="sum")
    same(losses.cross_entropy(hidden, head, labels), naive, hidden, head)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_forward_kl_is_hintons(temperature):
    hidden, head, teacher, teacher_head, _ = tensors(1)
    p = (teacher @ teacher_head.T / temperature).softmax(-1)
    q = (hidden @ head.T / temperature).log_softmax(-1)
    naive = (p * (p.log() - q)).sum() * temperature**2
    same(losses.forward_kl(hidden, head, teacher, teacher_head, temperature), naive, hidden, head)


def test_no_gradient_reaches_the_teacher():
    hidden, head, teacher, teacher_head, _ = tensors(2)
    teacher.requires_grad_()
    teacher_head.requires_grad_()
    losses.forward_kl(hidden, head, teacher, teacher_head).backward()
    assert teacher.grad is None
    assert teacher_head.grad is None


def test_nothing_is_lost_on_an_empty_batch():
    hidden, head, _, _, labels = tensors(3)
    assert losses.cross_entropy(hidden[:0], head, labels[:0]).item() == 0.0


def test_no_chunk_holds_more_logits_than_its_share(monkeypatch):
    seen = []
    plain = F.linear
    monkeypatch.setattr(losses.F, "linear", lambda x, w: seen.append(len(x)) or plain(x, w))
    hidden, head, _, _, labels = tensors(4)
    losses.cross_entropy(hidden, head, labels).backward()
    assert max(seen) == 3
