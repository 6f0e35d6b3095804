"""The form in which a model is sampled and served; `choose` finds it by a short trial."""

from gambeson.inference.form import Dtype, Form, Memory
from gambeson.inference.served import Float32Head, Served, serve

__all__ = ["Dtype", "Float32Head", "Form", "Memory", "Served", "serve"]
