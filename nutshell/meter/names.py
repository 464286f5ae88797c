"""ATen's operations by what they are: the names that :mod:`nutshell.meter.rules` puts a cost to."""


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONVOLUTIONS = _set("convolution _convolution convolution_overrideable")
PRODUCTS = _set("mm addmm bmm baddbmm addbmm mv addmv dot vdot _int_mm")
ATTENTION = _set(
    """
    _scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
    _scaled_dot_product_fused_attention_overrideable
    """
)
FOURIER = _set("_fft_c2c _fft_r2c _fft_c2r")

ACTIVATIONS = _set(
    """
    relu leaky_relu elu celu selu gelu silu sigmoid tanh hardtanh hardsigmoid hardswish softplus mish threshold clamp
    clamp_min clamp_max _prelu_kernel log_sigmoid_forward rrelu_with_noise glu hardshrink softshrink
    """
)
ADDITIONS = _set("add sub rsub")
MULTIPLICATIONS = _set("mul div square addcmul addcdiv floor_divide")
BINARY = _set("bitwise_xor bitwise_and bitwise_or bitwise_not __xor__ __and__ __or__")
REDUCTIONS = _set(
    """
    sum mean prod amax amin max min argmax argmin var std var_mean std_mean cumsum cumprod norm linalg_vector_norm
    logsumexp any all nansum count_nonzero sort topk median nanmedian mode kthvalue aminmax cummax cummin trace dist
    """
)
SOFTMAX = _set("_softmax _log_softmax _safe_softmax")
SCATTER_ADDITIONS = _set("scatter_add index_add scatter_reduce")

BATCH_NORMS = _set(
    """
    native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training
    _native_batch_norm_legit_functional _batch_norm_with_update _batch_norm_no_update cudnn_batch_norm
    """
)
OTHER_NORMS = _set("native_layer_norm native_group_norm _fused_rms_norm _weight_norm_interface")

WINDOW_POOLS = {  # name: dimensions of the window, which is the second argument
    "max_pool2d_with_indices": 2,
    "max_pool3d_with_indices": 3,
    "avg_pool1d": 1,
    "avg_pool2d": 2,
    "avg_pool3d": 3,
}
ADAPTIVE_POOLS = _set(
    """
    _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d
    adaptive_max_pool3d
    """
)

RESAMPLING = {  # name: products for each output element; repeating the nearest pixel is moving, not arithmetic
    "upsample_nearest1d": 0,
    "upsample_nearest2d": 0,
    "upsample_nearest3d": 0,
    "_upsample_nearest_exact1d": 0,
    "_upsample_nearest_exact2d": 0,
    "_upsample_nearest_exact3d": 0,
    "upsample_linear1d": 2,
    "upsample_bilinear2d": 4,
    "_upsample_bilinear2d_aa": 4,
    "upsample_trilinear3d": 8,
    "upsample_bicubic2d": 16,
    "grid_sampler_2d": 4,
    "grid_sampler_3d": 8,
}

# Making, moving and choosing values. Views are told from their schema and need no name here.
FREE = _set(
    """
    clone copy _to_copy contiguous cat stack where masked_fill masked_select masked_scatter index _unsafe_index
    index_select index_put _index_put_impl index_fill index_copy gather scatter take nonzero embedding
    repeat repeat_interleave roll flip im2col pixel_shuffle pixel_unshuffle channel_shuffle one_hot
    tril triu diag_embed constant_pad_nd
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
    empty empty_like empty_strided new_empty new_empty_strided new_zeros new_ones new_full zeros ones full zeros_like
    ones_like full_like zero fill scalar_tensor arange linspace eye tril_indices triu_indices
    bernoulli uniform normal random randperm rand randn randint rand_like randn_like
    _unsafe_view _reshape_copy unsafe_split unsafe_split_with_sizes unsafe_chunk split_copy view_copy permute_copy
    resize set lift_fresh lift_fresh_copy _conj_physical resolve_conj resolve_neg
    slice_scatter select_scatter diagonal_scatter as_strided_scatter max_unpool2d max_unpool3d empty_permuted
    t transpose squeeze unsqueeze as_strided swapaxes swapdims _pack_padded_sequence _pad_packed_sequence
    multinomial exponential hann_window complex _to_dense _to_sparse _to_sparse_csr _pin_memory
    _assert_async _assert_scalar
    """
)
