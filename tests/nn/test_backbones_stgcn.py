"""ST-GCN: its graph, its size, and agreement with the formula in the paper."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from helpers.skeletons import random_batch
from ssl_skel.data.layouts import LAYOUTS, get_layout
from ssl_skel.nn.graph import hop_distance, spatial_partition
from ssl_skel.nn.stgcn import STGCN, GraphConv, STGCNConfig, pool_frames


def test_partition_sums_to_one_and_splits_by_depth() -> None:
    for layout in LAYOUTS.values():
        graph = spatial_partition(layout)
        assert torch.allclose(graph.sum((0, 1)), torch.ones(layout.num_joints))
        assert (graph[0] > 0).equal(torch.eye(layout.num_joints, dtype=torch.bool))
        child, parent = layout.bones[-1]
        assert graph[1, parent, child] > 0
        assert graph[2, parent, child] == 0
        assert graph[2, child, parent] > 0
        assert (graph.sum(0) > 0).sum() == layout.num_joints + 2 * len(layout.bones)


def test_hops_count_bones() -> None:
    hops = hop_distance(get_layout("kinect_v2_25"))
    assert hops[3, 20] == 2
    assert hops[7, 11] == 8
    assert torch.isfinite(hops).all()


def test_graph_convolution_equals_the_published_order() -> None:
    torch.manual_seed(0)
    layer, graph = GraphConv(5, 7, 3).double(), torch.rand(3, 15, 15, dtype=torch.float64)
    with torch.no_grad():
        layer.bias.normal_()
    x = torch.randn(2, 5, 4, 15, dtype=torch.float64)
    weight = layer.weight.view(7, 3, 5).transpose(0, 1).reshape(21, 5, 1, 1)
    convolved = F.conv2d(x, weight, layer.bias.flatten()).view(2, 3, 7, 4, 15)
    torch.testing.assert_close(layer(x, graph), torch.einsum("nkctv,kvw->nctw", convolved, graph))


def published_parameters(joints: int, width: int, dim: int) -> int:
    """Count by the paper's description: convolutions with biases, normalisations, edge importance."""
    plan = [(3, width, 1), *[(width, width, 1)] * 3, (width, 2 * width, 2), *[(2 * width, 2 * width, 1)] * 2,
            (2 * width, 4 * width, 2), (4 * width, 4 * width, 1), (4 * width, dim, 1)]
    total = 2 * 3 * joints
    for number, (channels, out, stride) in enumerate(plan):
        total += 3 * joints * joints + 3 * out * (channels + 1)
        total += 2 * out + out * out * 9 + out + 2 * out
        if number and (channels != out or stride != 1):
            total += out * channels + out + 2 * out
    return total


def test_parameters_of_the_small_network_of_skeleton_clr() -> None:
    for name, layout in LAYOUTS.items():
        net = STGCN(STGCNConfig(), layout)
        count = sum(p.numel() for p in net.parameters())
        assert count == published_parameters(layout.num_joints, 16, 256), name
        assert net.dim == 256
    assert published_parameters(25, 16, 256) == 821_380


def test_strided_mask_keeps_a_lone_frame() -> None:
    mask = torch.zeros(1, 1, 7, 2, dtype=torch.bool)
    mask[0, 0, 3, 0] = True
    halved = pool_frames(mask, 2)
    assert halved is not None
    assert halved[0, 0, :, 0].tolist() == [False, True, False, False]
    assert halved.shape[2] == F.conv2d(torch.zeros(1, 1, 7, 2), torch.zeros(1, 1, 9, 1), stride=(2, 1),
                                       padding=(4, 0)).shape[2]


def test_empty_persons_are_not_computed() -> None:
    layout = get_layout("nite_15", 3)
    batch, net, rows = random_batch(layout, clips=4), STGCN(STGCNConfig(width=2, dim=4), layout), []
    net.blocks[0].register_forward_hook(lambda module, args, out: rows.append(len(out[0])))
    net(batch.xyz, batch.valid, layout)
    assert rows == [int(batch.valid.flatten(2).any(2).sum())]
    assert rows[0] < 12
