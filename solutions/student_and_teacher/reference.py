"""Student and teacher: train a small network on what a large one says, not on labels alone.

Notation of the unit: z are the logits of the student and v those of the teacher, one row for each image and one column
for each class; T is the temperature of a softmax.
"""

import torch
from torch import Tensor
from torch.nn import functional


def soften(logits: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Probabilities at a temperature, and how much they leave open.

    ``p_i = exp(z_i / T) / Σ_j exp(z_j / T)``. A higher temperature brings the probabilities closer to each other, and
    their entropy ``H = −Σ p_i ln p_i`` rises from 0, where one class has everything, towards ln C, where all C have the
    same (Hinton et al. 2015, arXiv 1503.02531, section 2). What is so unlikely that its probability is 0 in floating
    point adds 0 to the entropy.

    Parameters
    ----------
    logits : Tensor
        Shape ``(N, C)``, float32 or float64, finite and of any size; left as it is.
    temperature : float
        T, above 0; at 1 it is the plain softmax.

    Returns
    -------
    tuple of Tensor
        The probabilities, shape ``(N, C)``, and their entropies in nats, shape ``(N,)``.

    Raises
    ------
    ValueError
        If temperature isn't above 0.

    Examples
    --------
    >>> probabilities, entropy = soften(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), temperature=2.0)
    >>> probabilities
    tensor([[0.7311, 0.2689],
            [0.5000, 0.5000]])
    >>> entropy
    tensor([0.5822, 0.6931])
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: must be above 0.")
    logs = functional.log_softmax(logits / temperature, dim=1)
    probabilities = logs.exp()
    return probabilities, -(probabilities * logs).sum(1)


def mimic_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """How far a student's logits are from its teacher's: half the squared distance, mean over the images.

    ``1/N · Σ_n ½ Σ_i (z_ni − v_ni)²``: the classes of an image are added up, the images are averaged (Ba and Caruana
    2014, arXiv 1312.6184, section 2.2). The teacher is given and gets no gradient.

    Parameters
    ----------
    student, teacher : Tensor
        Logits z and v, shape ``(N, C)``, at least one image.

    Returns
    -------
    Tensor
        A single number, differentiable by ``student``.

    Raises
    ------
    ValueError
        If the two have different shapes.

    Examples
    --------
    >>> mimic_loss(torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    tensor(1.5000)
    """
    if student.shape != teacher.shape:
        raise ValueError(f"student {tuple(student.shape)}, teacher {tuple(teacher.shape)}: must be of one shape.")
    return (student - teacher.detach()).square().sum(1).mean() / 2


def distillation_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 4.0,
                      soft_weight: float = 0.9) -> Tensor:
    """Soft targets and labels together: what the teacher says at a temperature, and what is right.

    With p the teacher's probabilities at temperature T, q the student's at T and q¹ the student's at 1, it is
    ``w · T² · (−Σ_i p_i ln q_i) + (1 − w) · (−ln q¹_label)``, mean over the images. The gradient of the first sum by a
    logit is ``(q_i − p_i) / T``, and since q − p is itself about one T-th, T² keeps its size as T grows (Hinton et al.
    2015, arXiv 1503.02531, sections 2 and 2.1). The teacher gets no gradient.

    The divergence ``Σ p_i (ln p_i − ln q_i)`` in place of the cross-entropy is as good: it is smaller by the teacher's
    entropy, which no training of the student changes.

    Parameters
    ----------
    student, teacher : Tensor
        Logits, shape ``(N, C)``, finite and of any size, at least one image.
    labels : Tensor
        The right classes, int64, shape ``(N,)``.
    temperature : float
        T, above 0, of the soft part; labels are compared at temperature 1.
    soft_weight : float
        w, 0 to 1: 0 is learning from labels alone, 1 from the teacher alone.

    Returns
    -------
    Tensor
        A single number, differentiable by ``student``.

    Raises
    ------
    ValueError
        If temperature isn't above 0, or soft_weight isn't from 0 to 1.

    Examples
    --------
    >>> z, v = torch.tensor([[0.0, 0.0]]), torch.tensor([[4.0, 0.0]])
    >>> distillation_loss(z, v, torch.tensor([0]), temperature=2.0, soft_weight=0.5)
    tensor(1.7329)
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: must be above 0.")
    if not 0 <= soft_weight <= 1:
        raise ValueError(f"soft_weight={soft_weight}: must be from 0 to 1.")
    targets = (teacher.detach() / temperature).softmax(1)
    soft = functional.cross_entropy(student / temperature, targets)
    hard = functional.cross_entropy(student, labels)
    return soft_weight * temperature**2 * soft + (1 - soft_weight) * hard


def hint_loss(hint: Tensor, guided: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """How far a layer in the middle of the student is from one in the middle of its teacher.

    The student's layer is narrower and may be larger in height and width, so a regressor comes between: a convolution
    of the guided layer, without padding, stride 1, then a ReLU, as the hint has gone through one too. The loss is
    ``½ ‖hint − ReLU(kernel ∗ guided + bias)‖²``, all channels and places of an image added up, mean over the images
    (Romero et al. 2015, FitNets, arXiv 1412.6550, section 2.2). The hint gets no gradient.

    Parameters
    ----------
    hint : Tensor
        The teacher's outputs, shape ``(N, P, H, W)``, at least one image.
    guided : Tensor
        The student's, shape ``(N, C, H + K_h − 1, W + K_w − 1)``.
    kernel : Tensor
        Of the regressor, shape ``(P, C, K_h, K_w)``.
    bias : Tensor
        Of the regressor, shape ``(P,)``.

    Returns
    -------
    Tensor
        A single number, differentiable by ``guided``, ``kernel`` and ``bias``.

    Raises
    ------
    ValueError
        If the regressor's output has another shape than the hint.

    Examples
    --------
    >>> hint, guided = torch.ones(1, 2, 3, 3), torch.ones(1, 1, 4, 4)
    >>> hint_loss(hint, guided, torch.zeros(2, 1, 2, 2), torch.tensor([0.5, -1.0]))
    tensor(5.6250)
    """
    guess = functional.conv2d(guided, kernel, bias).relu()
    if guess.shape != hint.shape:
        raise ValueError(f"The regressor puts out {tuple(guess.shape)}, the hint is {tuple(hint.shape)}.")
    return (hint.detach() - guess).square().sum() / (2 * len(hint))


def ensemble_targets(logits: Tensor, temperature: float = 1.0, mean: str = "arithmetic") -> Tensor:
    """Soft targets of several teachers: the mean of their probabilities, arithmetic or geometric.

    The arithmetic mean of the members' probabilities at temperature T is what a vote with shares gives. The geometric
    one, ``p_i ∝ (Π_m p_mi)^(1/M)``, is made to add up to 1 again; it is the softmax of the mean of the members'
    log-probabilities (Hinton et al. 2015, arXiv 1503.02531, sections 1 and 2).

    Parameters
    ----------
    logits : Tensor
        Shape ``(M, N, C)``: one table of logits for each of M members, finite and of any size.
    temperature : float
        T, above 0, for each member before they are averaged.
    mean : {"arithmetic", "geometric"}
        Which mean.

    Returns
    -------
    Tensor
        Shape ``(N, C)``; each row adds up to 1.

    Raises
    ------
    ValueError
        If temperature isn't above 0, or mean is neither of the two.

    Examples
    --------
    One member is sure of the first class, the other can't decide.

    >>> logits = torch.tensor([[[4.0, 0.0]], [[0.0, 0.0]]])
    >>> ensemble_targets(logits), ensemble_targets(logits, mean="geometric")
    (tensor([[0.7410, 0.2590]]), tensor([[0.8808, 0.1192]]))
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: must be above 0.")
    if mean == "arithmetic":
        return (logits / temperature).softmax(2).mean(0)
    if mean == "geometric":
        return functional.log_softmax(logits / temperature, dim=2).mean(0).softmax(1)
    raise ValueError(f'mean={mean!r}: must be "arithmetic" or "geometric".')


def unbias(logits: Tensor, labels: Tensor, classes: tuple[int, ...]) -> float:
    """The number to add to the logits of some classes so that the fewest images are misread.

    A student that never saw a class has learned that it never comes, and its logit is too low for all images alike. One
    number mends that (Hinton et al. 2015, arXiv 1503.02531, section 3). As it grows, an image changes its answer once:
    from the best of the other classes to the best of these. Hence the number of mistakes changes at one place for
    each image at most, and is the same between two such places.

    Parameters
    ----------
    logits : Tensor
        Of the student on images kept for choosing, shape ``(N, C)``, at least one image; no two of an image are equal.
        Left as it is.
    labels : Tensor
        The right classes, int64, shape ``(N,)``.
    classes : tuple of int
        Those whose logits are raised (or lowered) together, each once: at least one of the C, and not all of them.

    Returns
    -------
    float
        A bias for which no other makes fewer mistakes on these images. It isn't on an edge, where two logits tie;
        which one of the good ones is free.

    Raises
    ------
    ValueError
        If classes is empty, holds all classes, or one that there isn't.

    Examples
    --------
    The second class is 2 to 3 too low; the first image must not be lost for it.

    >>> logits = torch.tensor([[5.0, 1.0], [3.0, 1.0], [4.0, 1.0]])
    >>> unbias(logits, torch.tensor([0, 1, 1]), classes=(1,))
    3.5
    """
    count = logits.shape[1]
    chosen = torch.tensor([number in classes for number in range(count)])
    if not 0 < len(classes) < count or int(chosen.sum()) != len(classes):
        raise ValueError(f"classes={classes}: name some of 0 to {count - 1}, each once, and not all of them.")
    highest, raised = logits.double().masked_fill(~chosen, -torch.inf).max(1)
    other, usual = logits.double().masked_fill(chosen, -torch.inf).max(1)
    gain = (raised == labels).long() - (usual == labels).long()  # what is won where the answer changes
    edges, place = (other - highest)[gain != 0].unique(return_inverse=True)
    if len(edges) == 0:
        return 0.0
    won = torch.zeros(len(edges) + 1, dtype=torch.long)
    won[1:] = torch.zeros(len(edges), dtype=torch.long).index_add(0, place, gain[gain != 0]).cumsum(0)
    between = torch.cat([edges[:1] - 1, (edges[1:] + edges[:-1]) / 2, edges[-1:] + 1])
    return between[won.argmax()].item()
