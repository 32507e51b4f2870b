"""An ONNX file as a generator: sampled, walked, and inverted without gradients, which ONNX has none of."""

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

import latentkit as lk
from latentkit.adapters.onnx import load_onnx
from latentkit.inversion import invert_without_gradients

# Stands for a file of yours: tanh of sums of waves, one for each of 6 latent coordinates, in a 1x24x24 picture.
grid = torch.linspace(0, 6.28, 24)
waves = torch.stack([torch.sin(k * grid[:, None] + (5 - k) * grid) for k in range(6)]).reshape(6, -1)
held = [
    numpy_helper.from_array(waves.numpy(), "waves"),
    numpy_helper.from_array(torch.tensor([-1, 1, 24, 24]).numpy(), "s"),
]
nodes = [
    helper.make_node("MatMul", ["latent", "waves"], ["sum"]),
    helper.make_node("Tanh", ["sum"], ["flat"]),
    helper.make_node("Reshape", ["flat", "s"], ["image"]),
]
latent = helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["batch", 6])
image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 24, 24])
graph = helper.make_graph(nodes, "waves", [latent], [image], held)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "waves.onnx")

generator = load_onnx("waves.onnx")  # its prior is normal, of the size that the file says
z = generator.prior.sample(6, seed=1)
print("samples", tuple(lk.generate(generator, z).shape))
print("wrote", lk.animate(generator, lk.loop(z, prior=generator.prior), frames=48).save("waves.gif"))

found = invert_without_gradients(generator, lk.generate(generator, z[:2]), seed=0)
away = float((found.latents - z[:2]).abs().max())
print(f"inverted: every coordinate within {away:.3f} of the latent's")
