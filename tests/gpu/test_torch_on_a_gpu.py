"""PyTorch on a GPU: results as on the CPU, nothing read back, graphs, and a training loop."""

from __future__ import annotations

from functools import partial

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("PyTorch finds no GPU", allow_module_level=True)
from torch import nn

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from array_constraints.executors.repeated import Repeated
from array_constraints.integrations.torch import constrain
from array_constraints.rules import Rule, Rules

CONSTRAINTS = [MaxNorm(2.0, 0), MinMaxNorm(0.5, 2.0, 0.7, 1), NonNeg(), UnitNorm((0, 1))]
DTYPES = {
    torch.float16: 2.0**-10,
    torch.bfloat16: 2.0**-7,
    torch.float32: 2.0**-23,
    torch.float64: 2.0**-52,
}


def weight(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    made = torch.randn(257, 130, generator=torch.Generator().manual_seed(0)).to(dtype)
    made[0, :2] = torch.tensor([-0.0, 0.0])
    made[:, 5] = 0
    return made


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a, b) and torch.equal(torch.signbit(a), torch.signbit(b))


@pytest.fixture
def nothing_read_back():
    """Make each wait of the CPU for the GPU an error."""
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=lambda c: type(c).__name__)
class TestCalls:
    def test_the_result_is_that_of_the_cpu(self, constraint, dtype):
        w = weight(dtype)
        found, expected = constraint(w.cuda()), constraint(w)
        assert found.is_cuda
        assert found.dtype == dtype
        rtol = (8 if dtype == torch.float64 else 2) * DTYPES[dtype]  # a sum in another order
        torch.testing.assert_close(found.cpu(), expected, rtol=rtol, atol=0)
        assert torch.equal(torch.signbit(found.cpu()), torch.signbit(expected))

    def test_in_place_and_violation(self, constraint, dtype):
        w = weight(dtype).cuda()
        expected = constraint(w)
        assert constraint(w, copy=False) is w
        assert same_bits(w, expected)
        assert constraint.violation(w).is_cuda

    def test_feasible_weights_keep_their_bits(self, constraint, dtype):
        once = constraint(weight(dtype).cuda())
        if getattr(constraint, "rate", 1.0) == 1.0:
            assert same_bits(constraint(once), once)


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=lambda c: type(c).__name__)
class TestOnTheDevice:
    def test_a_call_does_not_wait_for_the_gpu(self, constraint, nothing_read_back):
        w = weight().pin_memory().to("cuda", non_blocking=True)
        constraint(w)
        constraint.violation(w)
        constraint(w, copy=False)

    def test_a_call_can_be_captured_in_a_graph(self, constraint):
        w = weight().cuda()
        constraint(w.clone(), copy=False)
        stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph, stream=stream):
            constraint(w, copy=False)
        fresh = weight().cuda() * 3
        w.copy_(fresh)
        graph.replay()
        assert same_bits(w, constraint(fresh))

    def test_compiled(self, constraint):
        w = weight().cuda()
        compiled = torch.compile(lambda w: constraint(w), fullgraph=True)
        torch.testing.assert_close(compiled(w), constraint(w), rtol=2.0**-22, atol=0)

    def test_gradients(self, constraint):
        w = torch.randn(5, 4, dtype=torch.float64, device="cuda", requires_grad=True)
        assert torch.autograd.gradcheck(constraint, (w,))


RULES = Rules([Rule("*", MaxNorm(0.3, "incoming"), kind=("dense", "conv"))])


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()
        )
        self.head = nn.Linear(8 * 36, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(32, 3, 8, 8, device="cuda"), torch.randint(10, (32,), device="cuda")


class TestTraining:
    @pytest.mark.parametrize("options", [{}, {"fused": True}, {"capturable": True}], ids=str)
    def test_weights_are_held_after_each_step(self, options):
        model = Net().cuda()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, **options)
        held = constrain(model, RULES, optimizer)
        x, y = batch()
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            assert model.head.weight.norm(dim=1).max() <= 0.3 * (1 + 2.0**-23)
            assert not any(found.any() for found in held.violations().values())

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
    @pytest.mark.parametrize(
        "make", [partial(MaxNorm, 1.0), UnitNorm], ids=["MaxNorm", "UnitNorm"]
    )
    def test_the_bits_are_those_of_a_call(self, make, dtype):
        rng = torch.Generator().manual_seed(0)
        shapes = {(64, 64): 1, (300, 7): 0, (4, 3, 5): (1, 2), (9,): 0, (2000, 1500): 1}
        found = [torch.randn(shape, generator=rng).to("cuda", dtype) for shape in shapes]
        forms = [make(axis=axis) for axis in shapes.values()]
        expected = [form(w) for form, w in zip(forms, found, strict=True)]
        Repeated(forms, found).run()
        assert all(map(same_bits, found, expected))

    def test_a_step_does_not_wait_for_the_gpu(self, nothing_read_back):
        torch.cuda.set_sync_debug_mode("default")
        model = Net().cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=True)
        constrain(model, RULES, optimizer)
        x, y = batch()
        for mode in ("default", "error"):
            torch.cuda.set_sync_debug_mode(mode)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    def test_a_whole_step_in_a_graph(self):
        model = Net().cuda()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, capturable=True)
        constrain(model, RULES, optimizer)
        x, y = batch()

        def step() -> None:
            optimizer.zero_grad(set_to_none=False)
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        with torch.no_grad():
            model.head.weight.mul_(100)
        graph.replay()
        assert model.head.weight.norm(dim=1).max() <= 0.3 * (1 + 2.0**-23)

    def test_mixed_precision_with_a_scaler(self):
        model = Net().cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        held = constrain(model, RULES, optimizer)
        scaler = torch.amp.GradScaler("cuda")
        x, y = batch()
        for _ in range(3):
            optimizer.zero_grad()
            with torch.autocast("cuda", dtype=torch.float16):
                loss = nn.functional.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        assert not any(found.any() for found in held.violations().values())
