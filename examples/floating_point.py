"""A certificate from noise in floating point can be false, one on the lattice holds (Voracek & Hein 2023)."""

import torch

import gambeson

SIGMA, CENTER = 0.5, torch.tensor(210 / 255)


def model(z):
    """Class 1 where (z - a) + a == z: true of every float that is a sum with a, seldom of others."""
    through = (z - CENTER + CENTER == z).flatten(1).all(1)
    return torch.stack([~through, through], 1).float()


def share(x):
    """How often noise in float32 around the image x gets class 1."""
    noisy = x + torch.randn(100_000, 1, 1, 1) * SIGMA
    return model(noisy).argmax(1).double().mean().item()


grey, black = CENTER.reshape(1, 1, 1), torch.zeros(1, 1, 1)
print(f"in float32: class 1 around the grey pixel {share(grey):.2%} of the time, a radius of 1.9;")
print(f"            around the black one, {CENTER:.2f} away, {share(black):.2%}: another class")
found = gambeson.SmoothedClassifier(model, f"gaussian:{SIGMA}", 2).certify(grey[None], draws=20_000)
print(f"on the lattice: class {found.predict[0]} with a radius of {found.radius[0]:.2f}, which is true")
