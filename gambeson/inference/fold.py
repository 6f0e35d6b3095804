"""Batch normalisation multiplied into the convolution or linear layer before it: the same function, up to rounding."""

from collections import Counter

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def foldable(model: object) -> bool:
    """Whether there is any batch normalisation to fold."""
    return isinstance(model, nn.Module) and any(isinstance(module, _NORMS) for module in model.modules())


def fold(model: nn.Module) -> nn.Module:
    """`model` (in evaluation mode) without the batch normalisations that follow a convolution or linear layer.

    Layers that are called twice, or whose output goes elsewhere too, are left as they are. Raises what torch.fx raises
    for a model whose forward depends on values: such a model cannot be folded.
    """
    graph = _Tracer().trace(model)
    folded = fx.GraphModule(model, graph)
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for node in list(graph.nodes):
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        if calls[node.target] > 1 or calls[before.target] > 1:
            continue
        layer, norm = folded.get_submodule(str(before.target)), folded.get_submodule(str(node.target))
        if isinstance(norm, _NORMS) and norm.track_running_stats and isinstance(layer, (*_CONVOLUTIONS, nn.Linear)):
            fuse = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
            folded.set_submodule(str(before.target), fuse(layer, norm))  # type: ignore[type-var]
            node.replace_all_uses_with(before)
            graph.erase_node(node)
    folded.recompile()
    return folded


class _Tracer(fx.Tracer):
    """Layers without children stay whole: their forward may look at shapes and modes, which tracing cannot follow."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(True for _ in m.children())
