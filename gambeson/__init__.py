"""Gambeson: train, attack, certify and doubt robust image classifiers.

Names are imported lazily: `import gambeson` does not import torch.
"""

__version__ = "0.1.0"
