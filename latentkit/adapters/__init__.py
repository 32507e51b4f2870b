"""Other people's generators, one family a module; each is imported when it is first used."""

from typing import TYPE_CHECKING

from latentkit.exports import lazy

#: The file by which a folder is known to refer to a generator elsewhere; here, so that a look for it loads no adapter.
REFERENCE = "reference.json"

_HOMES = {
    "autoencoders": ("ImageAutoencoder", "from_autoencoder", "load_autoencoder"),
    "biggan": ("BigGAN", "from_biggan", "load_biggan"),
    "dcgan": ("load_dcgan",),
    "diffusion": ("NoiseView", "PromptView", "from_pipeline", "over_prompts"),
    "exported": ("ExportedNetwork", "load_exported"),
    "flows": ("FlowGenerator", "from_flow"),
    "gan_zoo": ("ZooGAN", "from_gan_zoo", "load_gan_zoo"),
    "hub": ("HubSnapshot", "hub_snapshot"),
    "importing": ("import_model", "load_reference"),
    "kinds": ("KINDS",),
    "onnx": ("ONNXModel", "load_onnx"),
    "pythae": ("PythaeModel", "from_pythae", "load_pythae"),
    "restricted": ("Record", "read_pickle"),
    "scores": ("as_critic",),
    "scripted": ("load_torchscript",),
    "stylegan": ("StyleGAN", "load_stylegan"),
    "torch_modules": ("load_module",),
    "weights": ("read_weights",),
}
__all__ = [
    "KINDS",
    "REFERENCE",
    "BigGAN",
    "ExportedNetwork",
    "FlowGenerator",
    "HubSnapshot",
    "ImageAutoencoder",
    "NoiseView",
    "ONNXModel",
    "PromptView",
    "PythaeModel",
    "Record",
    "StyleGAN",
    "ZooGAN",
    "as_critic",
    "from_autoencoder",
    "from_biggan",
    "from_flow",
    "from_gan_zoo",
    "from_pipeline",
    "from_pythae",
    "hub_snapshot",
    "import_model",
    "load_autoencoder",
    "load_biggan",
    "load_dcgan",
    "load_exported",
    "load_gan_zoo",
    "load_module",
    "load_onnx",
    "load_pythae",
    "load_reference",
    "load_stylegan",
    "load_torchscript",
    "over_prompts",
    "read_pickle",
    "read_weights",
]

__getattr__, __dir__ = lazy(__name__, _HOMES)

if TYPE_CHECKING:
    from latentkit.adapters.autoencoders import ImageAutoencoder as ImageAutoencoder
    from latentkit.adapters.autoencoders import from_autoencoder as from_autoencoder
    from latentkit.adapters.autoencoders import load_autoencoder as load_autoencoder
    from latentkit.adapters.biggan import BigGAN as BigGAN
    from latentkit.adapters.biggan import from_biggan as from_biggan
    from latentkit.adapters.biggan import load_biggan as load_biggan
    from latentkit.adapters.dcgan import load_dcgan as load_dcgan
    from latentkit.adapters.diffusion import NoiseView as NoiseView
    from latentkit.adapters.diffusion import PromptView as PromptView
    from latentkit.adapters.diffusion import from_pipeline as from_pipeline
    from latentkit.adapters.diffusion import over_prompts as over_prompts
    from latentkit.adapters.exported import ExportedNetwork as ExportedNetwork
    from latentkit.adapters.exported import load_exported as load_exported
    from latentkit.adapters.flows import FlowGenerator as FlowGenerator
    from latentkit.adapters.flows import from_flow as from_flow
    from latentkit.adapters.gan_zoo import ZooGAN as ZooGAN
    from latentkit.adapters.gan_zoo import from_gan_zoo as from_gan_zoo
    from latentkit.adapters.gan_zoo import load_gan_zoo as load_gan_zoo
    from latentkit.adapters.hub import HubSnapshot as HubSnapshot
    from latentkit.adapters.hub import hub_snapshot as hub_snapshot
    from latentkit.adapters.importing import import_model as import_model
    from latentkit.adapters.importing import load_reference as load_reference
    from latentkit.adapters.kinds import KINDS as KINDS
    from latentkit.adapters.onnx import ONNXModel as ONNXModel
    from latentkit.adapters.onnx import load_onnx as load_onnx
    from latentkit.adapters.pythae import PythaeModel as PythaeModel
    from latentkit.adapters.pythae import from_pythae as from_pythae
    from latentkit.adapters.pythae import load_pythae as load_pythae
    from latentkit.adapters.restricted import Record as Record
    from latentkit.adapters.restricted import read_pickle as read_pickle
    from latentkit.adapters.scores import as_critic as as_critic
    from latentkit.adapters.scripted import load_torchscript as load_torchscript
    from latentkit.adapters.stylegan import StyleGAN as StyleGAN
    from latentkit.adapters.stylegan import load_stylegan as load_stylegan
    from latentkit.adapters.torch_modules import load_module as load_module
    from latentkit.adapters.weights import read_weights as read_weights
