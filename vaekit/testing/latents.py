"""What latents are held to besides."""

import torch
from torch import Tensor

from vaekit import distributions
from vaekit.testing.case import Case, require, same
from vaekit.testing.outcomes import NotApplicable
from vaekit.trace import Site

_SAMPLES = 4000
_LITTLE = 0.05  # of their mass


def check_kl_matches_monte_carlo(case: Case) -> None:
    """A closed KL is within four standard errors of its estimate by draws; without one, the densities fit each other."""
    told = []
    for bench in case.benches():
        h, c, _ = bench.inputs(4)
        with torch.no_grad():
            draw = bench.draw(2 * h, c, _SAMPLES)
        for i, site in enumerate(draw.sites):
            log_ratio = site.log_ratio().double()
            require(not log_ratio.isnan().any().item(), f"log p - log q is NaN at site {i}")
            if site.closed:
                gap = distributions.kl(site.q, site.p).double() + log_ratio
                error = gap.std(0) / _SAMPLES**0.5
                require(
                    bool((gap.mean(0).abs() < 4 * error + 1e-4 * log_ratio.abs().mean(0) + 1e-5).all()),
                    f"at site {i} the closed KL is off the estimate by {gap.mean(0).abs().max():.3g} nats "
                    f"(standard error {error.max():.2g})",
                )
                told.append(True)
            elif (site.z != site.z[:1]).any() and site.z.is_floating_point():
                told.append(_in_common(site, log_ratio, f"at site {i}") > _LITTLE)
    if told and not any(told):
        raise NotApplicable("p and q have too little in common for draws to tell whether their densities fit each other")


def _in_common(site: Site, log_ratio: Tensor, where: str) -> float:
    """The mass that p and q have in common: E_q[min(1, p/q)], and E_p[min(1, q/p)], neither of which has a heavy tail."""
    with torch.no_grad():
        z = site.p.sample((_SAMPLES,) if len(site.p.batch_shape) == 1 else ())
        back = (site.q.log_prob(z) - site.p.log_prob(z)).double()
    require(not back.isnan().any().item(), f"{where} log q - log p is NaN at draws from p")
    by_q, by_p = log_ratio.clamp(max=0).exp(), back.clamp(max=0).exp()
    error = ((by_q.var(0) + by_p.var(0)) / _SAMPLES).sqrt()
    require(
        bool(((by_q.mean(0) - by_p.mean(0)).abs() < 5 * error + 0.01).all()),
        f"{where} p and q have {by_q.mean(0).tolist()} of their mass in common by draws from q and {by_p.mean(0).tolist()} by "
        f"draws from p: log q lacks a constant, or the draws are not from q",
    )
    return max(by_q.mean().item(), by_p.mean().item())


def check_draws_come_from_the_posterior(case: Case) -> None:
    """The root that `forward` draws is drawn from `posterior`, against the prior that it was given."""
    for bench in case.benches():
        h, c, _ = bench.inputs(4)
        with torch.no_grad():
            site = bench.draw(h, c, 3).sites[0]
            q, p = bench.part.posterior(h, c), bench.prior(c)
        for name, stated, there in (("q", q, site.q), ("p", p, site.p)):
            what = f"log {name}"
            difference = same({what: there.log_prob(site.z)}, {what: stated.log_prob(site.z)})
            whose = "that of posterior" if name == "q" else "the prior that forward was given"
            require(not difference, f"{name} of the first site, the root, is not {whose}: {difference}")


def check_trains_as_it_generates(case: Case) -> None:
    """What `forward` gives the decoder is what `generate` makes of the same root; for one site, as more draw between."""
    for bench in case.benches():
        h, c, _ = bench.inputs(4)
        with torch.no_grad():
            draw = bench.draw(h, c, 1)
            if len(draw.sites) == 1:
                generated = bench.part.generate(draw.sites[0].z[0], c)
                difference = same({"z": draw.z[0]}, {"z": generated})
                require(not difference, f"between forward and generate, {difference} for the same root")


def check_descends_as_it_trains(case: Case) -> None:
    """With one more site below the root, `generate` draws from the prior that this site has at that root."""
    for bench in case.benches():
        h, c, _ = bench.inputs(4)
        with torch.no_grad():
            draw = bench.draw(h, c, 1)
            if len(draw.sites) != 2 or draw.sites[1].z.shape != draw.z.shape:
                continue
            root, p = draw.sites[0].z[0], draw.sites[1].p
            z = bench.part.generate(root.repeat(_SAMPLES, *(1 for _ in root.shape[1:])), c.repeat(_SAMPLES, 1))
            got = p.log_prob(z.unflatten(0, (_SAMPLES, -1))).double()
            wanted = p.log_prob(p.sample((_SAMPLES,))[:, 0][:, None])[:, 0].double()
        error = ((got.var(0) + wanted.var(0)) / _SAMPLES).sqrt()
        require(
            bool(((got.mean(0) - wanted.mean(0)).abs() < 5 * error + 1e-3).all()),
            f"under the prior of the second site what generate draws has log p of {got.mean().item():.4g} on the average, and "
            f"what that draws itself {wanted.mean().item():.4g}",
        )


def check_h_matters(case: Case) -> None:
    """Different features give different codes."""
    for wiring in case.few:
        differ = False
        for bench in case.stirred(wiring):
            h, c, _ = bench.inputs(6)
            with torch.no_grad():
                code = bench.part.code(3 * h, c[:1].expand_as(c))
            differ = differ or bool((code != code[:1]).any())
        require(differ, "the code is the same for six different h")


def check_generates(case: Case) -> None:
    """`generate` makes what the decoder sees of draws from a prior."""
    for bench in case.benches():
        _, c, _ = bench.inputs(4)
        with torch.no_grad():
            root = bench.prior(c).sample()
            z = bench.part.generate(root, c)
        wanted = (4, *bench.part.out_shape)
        require(tuple(z.shape) == wanted, f"generate gives {tuple(z.shape)}, where {wanted} is wanted")
        require(z.is_floating_point() and bool(z.isfinite().all()), "what generate gives is not finite floats")


def check_code_is_deterministic(case: Case) -> None:
    """`code` draws nothing, in training neither."""
    for bench in case.benches():
        h, c, _ = bench.inputs(4)
        for training in (False, True):
            bench.train(training)
            codes = []
            for seed in (1, 2):
                torch.manual_seed(seed)
                with torch.no_grad():
                    codes.append({"the code": bench.part.code(h, c)})
            difference = same(codes[0], codes[1], rtol=0, atol=0)
            require(not difference, f"run twice{' in training mode' if training else ''}, {difference}")
