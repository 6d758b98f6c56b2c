"""The losses, chunked and of one pass, equal their naive forms in value and gradient."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_pair.config.schema import Losses
from whisper_pair.training.losses import chunks
from whisper_pair.training.losses.chunks import cross_entropy
from whisper_pair.training.losses.divergences import lk, softened, truncated_cross_entropy
from whisper_pair.training.losses.mix import TopKTeacher, WholeTeacher, divergences, mixed_loss
from whisper_pair.training.losses.rounds import mismatch_weights

VOCABULARY = 17
NONE = {"cross_entropy": 0.0, "kl": 0.0, "temperature": 1.0}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 3)


def tensors(seed: int, tokens: int = 10):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, 6, generator=generator, requires_grad=True)
    head = torch.randn(VOCABULARY, 6, generator=generator, requires_grad=True)
    teacher = WholeTeacher(torch.randn(tokens, 8, generator=generator), torch.randn(VOCABULARY, 8, generator=generator))
    labels = torch.randint(0, VOCABULARY, (tokens,), generator=generator)
    return hidden, head, teacher, labels


def probabilities(teacher: WholeTeacher, temperature: float = 1.0):
    return (teacher.hidden @ teacher.head.T / temperature).softmax(-1)


def same(found, naive, *inputs):
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, naive)
    gradients = torch.autograd.grad(2 * found, inputs, retain_graph=True)
    wanted = torch.autograd.grad(2 * naive, inputs, retain_graph=True)
    for one, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(one, other)


def naive_kl(p, q, temperature=1.0):
    p, q = p.log().div(temperature).softmax(-1), q.log().div(temperature).softmax(-1)
    return (p * (p / q).log()).sum(-1) * temperature**2


def naive_overlap(p, q):
    return torch.where(p < q, p, q).sum(-1)


def naive_lk(p, q, eta):
    weight = (-eta * naive_overlap(p, q).detach()).exp()
    return weight * naive_kl(p, q) + (1 - weight) * (1 - naive_overlap(p, q))


def naive_js(p, q, beta):
    middle = beta * p + (1 - beta) * q
    return beta * naive_kl(p, middle) + (1 - beta) * naive_kl(q, middle)


NAIVE = [
    ({"kl": 1.0}, naive_kl),
    ({"kl": 2.0, "temperature": 2.5}, lambda p, q: 2 * naive_kl(p, q, 2.5)),
    ({"reverse_kl": 1.0}, lambda p, q: naive_kl(q, p)),
    ({"jensen_shannon": 1.0}, lambda p, q: naive_js(p, q, 0.5)),
    ({"jensen_shannon": 1.0, "beta": 0.1}, lambda p, q: naive_js(p, q, 0.1)),
    ({"total_variation": 1.0}, lambda p, q: 1 - naive_overlap(p, q)),
    ({"log_acceptance": 1.0}, lambda p, q: -naive_overlap(p, q).log()),
    ({"lk": 1.0}, lambda p, q: naive_lk(p, q, 3.0)),
    ({"lk": 0.5, "eta": 1.0, "reverse_kl": 0.2}, lambda p, q: 0.5 * naive_lk(p, q, 1.0) + 0.2 * naive_kl(q, p)),
]  # fmt: skip


def mixed(*arguments) -> torch.Tensor:
    """The total of the mix."""
    return mixed_loss(*arguments).total


@pytest.mark.parametrize("tokens", [1, 3, 10])
def test_cross_entropy_is_the_sum_over_tokens(tokens):
    hidden, head, teacher, labels = tensors(0, tokens)
    naive = F.cross_entropy(hidden @ head.T, labels, reduction="sum")
    same(cross_entropy(hidden, head, labels), naive, hidden, head)
    same(mixed(hidden, head, labels, teacher, Losses(**NONE | {"cross_entropy": 1.0})), naive, hidden, head)


@pytest.mark.parametrize(("losses", "naive"), NAIVE, ids=[" ".join(losses) for losses, _ in NAIVE])
def test_each_divergence_is_its_formula(losses, naive):
    hidden, head, teacher, labels = tensors(1)
    wanted = naive(probabilities(teacher), (hidden @ head.T).softmax(-1)).sum()
    same(mixed(hidden, head, labels, teacher, Losses(**NONE | losses)), wanted, hidden, head)


def test_a_mix_is_the_weighted_sum_and_weights_scale_each_token():
    hidden, head, teacher, labels = tensors(2)
    weights = torch.rand(len(hidden), generator=torch.Generator().manual_seed(0))
    q = (hidden @ head.T).softmax(-1)
    each = 0.8 * F.cross_entropy(hidden @ head.T, labels, reduction="none") + 1.5 * naive_kl(probabilities(teacher), q)
    found = mixed(hidden, head, labels, teacher, Losses(cross_entropy=0.8, kl=1.5, temperature=1.0), weights)
    same(found, (each * weights).sum(), hidden, head)


def test_the_parts_of_a_mix_are_each_loss_alone_and_add_up_to_the_total():
    hidden, head, teacher, labels = tensors(2)
    weights = torch.rand(len(hidden), generator=torch.Generator().manual_seed(0))
    given = Losses(cross_entropy=0.8, kl=1.5, total_variation=2.0, temperature=3.0)
    found = mixed_loss(hidden, head, labels, teacher, given, weights)
    assert list(found.parts) == ["cross_entropy", "kl", "total_variation"]
    torch.testing.assert_close(sum(found.parts.values()), found.total)
    for name, part in found.parts.items():
        assert not part.requires_grad
        alone = Losses(**NONE | {name: getattr(given, name), "temperature": 3.0})
        torch.testing.assert_close(part, mixed(hidden, head, labels, teacher, alone, weights))


@pytest.mark.parametrize(("losses", "naive"), NAIVE, ids=[" ".join(losses) for losses, _ in NAIVE])
def test_a_top_k_teacher_with_all_tokens_is_the_whole_teacher(losses, naive):
    hidden, head, teacher, labels = tensors(3)
    top = TopKTeacher.of(probabilities(teacher).log(), VOCABULARY, Losses(**losses).temperature)
    wanted = mixed(hidden, head, labels, teacher, Losses(**losses))
    same(mixed(hidden, head, labels, top, Losses(**losses)), wanted, hidden, head)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_loss_of_the_top_tokens_alone_is_what_the_docstring_says(temperature):
    hidden, head, teacher, labels = tensors(4)
    only = Losses(**NONE | {"kl": 1.0, "temperature": temperature})
    p, q = probabilities(teacher, temperature), (hidden @ head.T / temperature).softmax(-1)
    order = p.argsort(-1, descending=True)
    p, q = p.gather(1, order), q.gather(1, order)
    for k in (1, 4, 16):
        rest = p[:, k:].sum(-1)
        within_p, within_q = p[:, k:] / rest[:, None], q[:, k:] / q[:, k:].sum(-1, keepdim=True)
        bias = (rest * naive_kl(within_p, within_q)).sum()
        top = TopKTeacher.of(probabilities(teacher).log(), k, temperature)
        wanted = temperature**2 * (naive_kl(p, q).sum() - bias)
        same(mixed(hidden, head, labels, top, only), wanted, hidden, head)


def like_whisper(tokens: int):
    """Logits of a student and log-probabilities of its teacher [tokens, 50000], in the shape of whisper-base's on
    speech: a few likely tokens, and a long tail of e^-15 each, a hundred times more or less, on which both agree
    partly."""
    generator = torch.Generator().manual_seed(11)
    likely = 15 + 4 * torch.rand(tokens, 5, generator=generator)
    shared = torch.randn(tokens, 50000, generator=generator)
    logits = [1.6 * (shared + torch.randn(tokens, 50000, generator=generator)) for _ in range(2)]
    for one, noise in zip(logits, (2.0, 0.5), strict=True):
        one[:, :5] = likely + noise * torch.randn(tokens, 5, generator=generator)
    return logits[0].requires_grad_(), logits[1].log_softmax(-1)


def divergence_and_gradient(teacher_outcomes, logits, losses):
    loss = sum(divergences(teacher_outcomes(logits.log_softmax(-1)), losses).values()).sum()
    return loss.item(), torch.autograd.grad(loss, logits)[0]


def whole(teacher):
    return lambda student: lambda temperature: (softened(student, temperature), softened(teacher, temperature))


def likeliest(teacher, k, temperature):
    top = TopKTeacher.of(teacher, k, temperature)
    return lambda student: top.outcomes(student, *top.rows)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0, 4.0])
def test_the_gradient_on_the_top_tokens_is_that_of_the_whole_distribution(temperature):
    logits, teacher = like_whisper(4)
    only = Losses(**NONE | {"kl": 1.0, "temperature": temperature})
    _, exact = divergence_and_gradient(whole(teacher), logits, only)
    _, found = divergence_and_gradient(likeliest(teacher, 8, temperature), logits, only)
    best = teacher.topk(8).indices
    torch.testing.assert_close(found.gather(1, best), exact.gather(1, best), rtol=1e-3, atol=1e-5)


def test_softened_before_its_tail_is_joined_the_gradient_points_nearer_to_that_of_the_whole_distribution():
    logits, teacher = like_whisper(4)
    losses = Losses(**NONE | {"kl": 1.0, "temperature": 2.0})
    loss, exact = divergence_and_gradient(whole(teacher), logits, losses)

    def joined_first(student):
        top = TopKTeacher.of(teacher, 32)
        return lambda temperature: [softened(one, temperature) for one in top.outcomes(student, *top.rows)(1.0)]

    def cosine(gradient) -> float:
        return F.cosine_similarity(gradient.flatten(), exact.flatten(), dim=0).item()

    found = {k: divergence_and_gradient(likeliest(teacher, k, 2.0), logits, losses) for k in (32, 2000, 50000)}
    first = divergence_and_gradient(joined_first, logits, losses)
    cosines = [cosine(gradient) for _, gradient in found.values()]
    assert 0.99 < cosines[0] < cosines[1] < cosines[2]
    assert cosine(first[1]) < 0.95
    assert found[32][0] < found[2000][0] < loss
    assert math.isclose(found[50000][0], loss, rel_tol=1e-4)


@pytest.mark.parametrize("name", ["kl", "reverse_kl", "jensen_shannon", "total_variation", "log_acceptance"])
@given(
    logits=st.lists(st.floats(-30, 30, width=32), min_size=24, max_size=24),
    k=st.integers(1, 11),
    temperature=st.sampled_from([0.5, 1.0, 2.0, 5.0]),
)
@settings(deadline=None, max_examples=60)
def test_a_divergence_over_fewer_tokens_is_never_above_that_over_more(name, logits, k, temperature):
    student, teacher = torch.tensor(logits).view(2, 1, 12).log_softmax(-1)
    only = Losses(**NONE | {name: 1.0, "temperature": temperature})

    def of(tokens: int) -> float:
        return sum(divergences(likeliest(teacher, tokens, temperature)(student), only).values()).item()

    exact = sum(divergences(whole(teacher)(student), only).values()).item()
    rounding = 1e-4 * (1 + exact)
    assert -rounding < of(k) < of(k + 1) + rounding
    assert of(k) < exact + rounding
    assert math.isclose(of(12), exact, abs_tol=rounding)


def test_a_sure_teacher_gives_finite_losses_and_gradients():
    hidden, head, teacher, labels = tensors(5)
    sure = WholeTeacher(teacher.hidden * 300, teacher.head)  # one token has all the mass that float32 can tell
    everything = Losses(reverse_kl=1, jensen_shannon=1, total_variation=1, log_acceptance=1, lk=1)
    for known in (sure, TopKTeacher.of((sure.hidden @ sure.head.T).log_softmax(-1), 4, 2.0)):
        loss = mixed(hidden, head, labels, known, everything)
        assert all(torch.isfinite(x).all() for x in (loss, *torch.autograd.grad(loss, (hidden, head))))


def test_lk_turns_from_kl_to_total_variation():
    p, q = (torch.randn(4, 9, generator=torch.Generator().manual_seed(i)).log_softmax(-1) for i in (0, 1))
    torch.testing.assert_close(lk(q, p, eta=0.0), naive_kl(p.exp(), q.exp()))
    torch.testing.assert_close(lk(q, p, eta=1e3), 1 - naive_overlap(p.exp(), q.exp()))


def naive_truncated(logits, labels, first):
    """One token at a time, with a sort."""
    found = []
    for row, label in zip(logits, labels.tolist(), strict=True):
        others = [value for token, value in enumerate(row) if token != label]
        kept = sorted(others, key=lambda value: -value.item())[first - 1 :]
        found.append(torch.log1p(sum((value - row[label]).exp() for value in kept)))
    return torch.stack(found)


@pytest.mark.parametrize("first", [1, 2, 3])
def test_the_loss_of_the_first_choices_is_its_formula_and_of_the_first_alone_cross_entropy(first):
    logits = torch.randn(6, 9, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.randint(0, 9, (6,), generator=torch.Generator().manual_seed(1))
    found = truncated_cross_entropy(logits, labels, first)
    same(found.sum(), naive_truncated(logits, labels, first).sum(), logits)
    torch.testing.assert_close(truncated_cross_entropy(logits.log_softmax(-1), labels, first), found)
    if first == 1:
        torch.testing.assert_close(found, F.cross_entropy(logits, labels, reduction="none"))


def test_a_token_that_is_surely_among_the_first_three_choices_is_learnt_no_further():
    logits = torch.tensor([[30.0, 29.0, 28.0, 0.0, 0.0]]).requires_grad_()
    for label, learnt in ((0, False), (2, False), (3, True)):
        loss = truncated_cross_entropy(logits, torch.tensor([label]), 3)
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert (gradient.abs().sum().item() > 0.5) == learnt


def test_the_loss_of_the_first_choices_is_a_part_of_the_mix():
    hidden, head, teacher, labels = tensors(4)
    found = mixed(hidden, head, labels, teacher, Losses(**NONE | {"first_three": 0.7}))
    same(found, 0.7 * naive_truncated(hidden @ head.T, labels, 3).sum(), hidden, head)


def test_no_gradient_reaches_the_teacher():
    hidden, head, teacher, labels = tensors(6)
    teacher.hidden.requires_grad_()
    teacher.head.requires_grad_()
    mixed(hidden, head, labels, teacher, Losses()).backward()
    assert teacher.hidden.grad is None
    assert teacher.head.grad is None


def test_a_frozen_head_costs_no_gradient():
    hidden, head, teacher, labels = tensors(7)
    frozen = head.detach()
    mixed(hidden, frozen, labels, teacher, Losses()).backward()
    (wanted,) = torch.autograd.grad(mixed(hidden, head, labels, teacher, Losses()), hidden)
    torch.testing.assert_close(hidden.grad, wanted)
    assert frozen.grad is None


def test_autocast_rounds_the_products_and_nothing_else():
    hidden, head, teacher, labels = tensors(10)
    exact = mixed(hidden, head, labels, teacher, Losses())
    with torch.autocast("cpu", torch.bfloat16):
        rounded = mixed(hidden, head, labels, teacher, Losses())
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0)
    gradients = (torch.autograd.grad(loss, (hidden, head)) for loss in (rounded, exact))
    for one, other in zip(*gradients, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.05 * other.norm()


def test_teacher_targets_cached_in_half_precision_are_read_under_autocast_as_without():
    hidden, head, teacher, labels = tensors(10)
    known = TopKTeacher.of(F.log_softmax(F.linear(teacher.hidden, teacher.head), dim=-1), 4, 2.0)
    known = TopKTeacher(known.ids, known.log_probabilities.half(), known.rest, known.temperature)  # as it is on disk
    exact = mixed(hidden, head, labels, known, Losses())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(mixed(hidden, head, labels, known, Losses()), exact, rtol=0.02, atol=0)


def test_nothing_is_lost_on_an_empty_batch():
    hidden, head, _, labels = tensors(8)
    assert cross_entropy(hidden[:0], head, labels[:0]).item() == 0.0


def test_no_chunk_holds_more_logits_than_its_share(monkeypatch):
    seen = []
    plain = F.linear
    monkeypatch.setattr(F, "linear", lambda x, w: seen.append(len(x)) or plain(x, w))
    hidden, head, _, labels = tensors(9)
    cross_entropy(hidden, head, labels).backward()
    assert seen == [3, 3, 3, 1]  # and none again in the backward pass


def test_weights_fade_with_the_tokens_since_the_last_mismatch():
    agrees = torch.tensor([1, 1, 0, 1, 1, 1, 0, 0, 1]).bool()
    starts = torch.tensor([1, 0, 0, 0, 0, 1, 0, 0, 0]).bool()  # two rows
    distance = [0, 1, 2, 0, 1, 0, 1, 0, 0]
    wanted = torch.tensor([0.5**d for d in distance])
    found = mismatch_weights(agrees, starts, 0.5)
    torch.testing.assert_close(found, wanted / wanted.mean())
    assert math.isclose(found.mean().item(), 1.0, abs_tol=1e-6)
    assert torch.equal(mismatch_weights(agrees, starts, 1.0), torch.ones(9))
