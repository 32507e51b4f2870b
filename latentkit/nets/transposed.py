"""Transposed convolutions that only run, each by the fastest way that there is on a processor.

A kernel that computes blocks of 16 output channels at a time wastes most of its work where there are 1 or 3, as in
the last layer of a generator of images. As a matrix product the k x k patch of each place is a row that fills the
registers, and adding the patches up moves few numbers, since there are few channels. Of a latent as a map of 1x1, as
in the first layer of a DCGAN, nothing needs to be added: the patch is the result. All others are done by oneDNN, which
otherwise brings the weights into its own order in each call; here they are brought into it once, and a ReLU is done
while the numbers are still in the registers.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FEW", "RunningConvTranspose2d", "has_kernels", "running"]

#: Output channels up to which a product is faster: 1.2 to 8 times at 1 to 3, from 4 on now and then slower.
FEW = 3


class RunningConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution by the fastest way, the same to float rounding; see `running`.

    On other devices than the CPU, for what is not a batch of maps, and where a gradient is wanted, it is what
    `nn.ConvTranspose2d` is.

    Attributes: `rectified`, whether a ReLU follows; `packed`, whether oneDNN's own kernels are used.
    """

    rectified: bool = False
    packed: bool = False
    _pack: tuple[Any, Tensor] | None = None

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return maps (N, C', H', W') for maps (N, C, H, W)."""
        learned = torch.is_grad_enabled() and input.requires_grad
        if learned or output_size is not None or input.ndim != 4 or not input.numel() or input.device.type != "cpu":
            maps = super().forward(input, output_size)
        elif input.shape[2] == input.shape[3] == 1 and _bare(self):
            maps = self._patch(input)
        elif self.out_channels <= FEW:
            maps = self._patches_added(input)
        elif self.packed:
            return self._by_kernel(input)
        else:
            maps = super().forward(input)
        return functional.relu(maps, inplace=not learned) if self.rectified else maps

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without what another process or machine can't have: weights in oneDNN's order."""
        return {name: value for name, value in vars(self).items() if name != "_pack"}

    def _patch(self, input: Tensor) -> Tensor:
        weight = self.weight.permute(0, 2, 3, 1)  # as it lies in memory, if channels are last
        maps = (input.flatten(1) @ weight.flatten(1)).unflatten(1, weight.shape[1:])
        maps = maps if self.bias is None else maps.add_(self.bias)
        return maps.permute(0, 3, 1, 2)

    def _patches_added(self, input: Tensor) -> Tensor:
        rows = input.permute(0, 2, 3, 1).flatten(1, 2)  # (N, H W, C), without a copy where channels are last
        patches = self.weight.flatten(1).T @ rows.transpose(1, 2)
        # Where an autocast rounds the product, the sums of the patches are not rounded again and again.
        whole = patches.to(torch.promote_types(patches.dtype, torch.float32))
        padding = (int(self.padding[0]), int(self.padding[1]))  # a transposed convolution takes no names for it
        sides = (self._side(input, 0, padding[0]), self._side(input, 1, padding[1]))
        maps = functional.fold(whole, sides, self.kernel_size, self.dilation, padding, self.stride)
        maps = maps if self.bias is None else maps.add_(self.bias[:, None, None])
        return maps.to(patches.dtype)

    def _side(self, input: Tensor, axis: int, padding: int) -> int:
        """Return the height or the width of the maps that come out."""
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1 + self.output_padding[axis]
        return (input.shape[2 + axis] - 1) * self.stride[axis] - 2 * padding + reach

    def _by_kernel(self, input: Tensor) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
        maps = input.to(dtype, memory_format=torch.channels_last)
        shape = (self.padding, self.output_padding, self.stride, self.dilation, self.groups)
        # Which order is best depends on the batch; weights that have changed since are packed anew.
        key = (maps.shape, dtype, self.weight.data_ptr(), self.weight._version)
        pack = self._pack
        if pack is None or pack[0] != key:
            reorder = torch.ops.mkldnn._reorder_convolution_transpose_weight
            pack = (key, reorder(self.weight.detach().to(dtype), *shape, list(maps.shape)))
            object.__setattr__(self, "_pack", pack)
        bias = None if self.bias is None else self.bias.to(dtype)
        after = "relu" if self.rectified else "none"
        return torch.ops.mkldnn._convolution_transpose_pointwise(maps, pack[1], bias, *shape, after, [], "")


def has_kernels() -> bool:
    """Whether this build of torch has oneDNN's kernels for transposed convolutions with what follows them."""
    names = ("_reorder_convolution_transpose_weight", "_convolution_transpose_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)


def running(module: nn.Module, *, kernels: bool) -> bool:
    """Let a transposed convolution run as above, in place, if it can; return whether it can.

    Args:
        module: of whatever class; only plain `nn.ConvTranspose2d` in float32 on the CPU, in one group, can.
        kernels: also by oneDNN's own kernels, where there are any.
    """
    if type(module) is not nn.ConvTranspose2d or module.groups > 1:
        return False
    if module.weight.dtype != torch.float32 or module.weight.device.type != "cpu":
        return False
    module.__class__ = RunningConvTranspose2d
    object.__setattr__(module, "packed", kernels and has_kernels())
    return True


def _bare(module: nn.ConvTranspose2d) -> bool:
    """Whether the result for a map of one place is the kernel's patch, without holes and edges."""
    plain = not any(module.padding) and not any(module.output_padding) and all(step == 1 for step in module.dilation)
    return plain and max(module.kernel_size) > 1
