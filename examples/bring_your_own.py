"""Any nn.Module and any iterable of (x, y) go into train, attacked and certified; records come out as dicts."""

import torch

import gambeson

model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
train, test = (gambeson.load("digits", split) for split in ("train", "test"))
pairs = [(x, y) for x, y in test.every(50)]  # images (C, H, W) in [0, 1] and labels; batches work too
gambeson.train(model, train, loss="noisy", method={"sigma": 0.25}, epochs=5, batch=64, optimizer={"lr": 0.1})
model.eval()
for record in gambeson.attacked(model, pairs, norm="linf", eps=0.1):
    print(record["index"], "correct under attack:", record["correct"])
for record in gambeson.certified(model, pairs, noise="gaussian:0.25", draws=1000):
    print(record["index"], record["predict"], round(record["radii"]["gaussian_l2"], 3))
