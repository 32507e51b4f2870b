"""Which of PyTorch's tensor operators a stranger's network may call: those that check what they are given."""

import re

__all__ = ["is_checked"]

#: Operators that are for files.
_FOR_FILES = frozenset(("from_file", "save", "load"))

#: Families that believe their indices, offsets and packed weights: a crafted call reads or writes beyond memory.
#: `torch.sparse_coo_tensor`, for one, says that its invariants are not checked unless that is asked for.
_BELIEVING = re.compile(r".*(?:sparse|nested|jagged|fbgemm|quantized_|segment_reduce|nn_rnn|ctc_loss|embedding_bag).*")

#: What begins with an underscore is for PyTorch's own use, often without the checks of the operators around it. These
#: are what networks come to when they are traced, exported or decomposed, and do check.
_CHECKED = frozenset((
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_addmm_activation", "_assert_async", "_assert_scalar",
    "_assert_tensor_metadata", "_batch_norm_impl_index", "_batch_norm_no_update", "_cast_Byte", "_cast_Double",
    "_cast_Float", "_cast_Half", "_cast_Int", "_cast_Long", "_cdist_forward", "_chunk_cat", "_conj", "_conj_physical",
    "_conv_depthwise2d", "_convolution", "_convolution_mode", "_dim_arange", "_euclidean_dist", "_fft_c2c", "_fft_c2r",
    "_fft_r2c", "_fused_rms_norm", "_is_all_true", "_is_any_true", "_linalg_det", "_linalg_eigh", "_linalg_slogdet",
    "_linalg_solve_ex", "_linalg_svd", "_local_scalar_dense", "_log_softmax", "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training", "_neg_view", "_pad_circular", "_pad_enum", "_prelu_kernel",
    "_reshape_alias", "_reshape_copy", "_safe_softmax", "_scaled_dot_product_attention_math",
    "_scaled_dot_product_efficient_attention", "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu", "_shape_as_tensor", "_softmax", "_stack", "_to_copy", "_trilinear",
    "_unsafe_index", "_unsafe_view", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa", "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "_weight_norm", "_weight_norm_interface",
    # TorchScript's lists, numbers and texts.
    "_get_tracing_state", "_infer_size", "_list_to_tensor", "_set_item", "_size_if_not_equal", "_tensor_to_list",
    "_unwrap_optional",
))  # fmt: skip


def is_checked(name: str) -> bool:
    """Return whether a tensor operator, by its name in PyTorch's table `aten`, checks what it is given.

    Examples:
        >>> is_checked("conv2d"), is_checked("from_file"), is_checked("_sparse_csr_tensor_unsafe")
        (True, False, False)
    """
    if name.startswith("_") and not name.startswith("__"):
        return name in _CHECKED
    return name not in _FOR_FILES and not _BELIEVING.fullmatch(name)
