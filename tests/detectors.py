"""Detectors of transformers, so small that a test can run them, with random weights and without torchvision."""

from collections.abc import Callable

import torch
from transformers import (
    AutoModelForObjectDetection,
    BaseImageProcessor,
    ConditionalDetrConfig,
    DabDetrConfig,
    DeformableDetrConfig,
    DetrConfig,
    PreTrainedConfig,
    PreTrainedModel,
    ResNetConfig,
    RTDetrConfig,
    RTDetrResNetConfig,
    RTDetrV2Config,
    YolosConfig,
)
from transformers.models.conditional_detr.image_processing_pil_conditional_detr import ConditionalDetrImageProcessorPil
from transformers.models.deformable_detr.image_processing_pil_deformable_detr import DeformableDetrImageProcessorPil
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

WIDTH, QUERIES, CLASSES, SIDE = 32, 12, 4, 64
STAGES = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
HEADS = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
LAYERS = {"encoder_layers": 1, "decoder_layers": 2}
SIZE = {"height": SIDE, "width": SIDE}

Detecting = tuple[PreTrainedModel, BaseImageProcessor]


def with_backbone(kind: type[PreTrainedConfig], *stages: str, **settings) -> PreTrainedConfig:
    backbone = ResNetConfig(**STAGES, out_features=list(stages))
    own = {"use_timm_backbone": False, "backbone": None, "backbone_config": backbone, "d_model": WIDTH}
    return kind(**own, **HEADS, **LAYERS, num_queries=QUERIES, num_labels=CLASSES, **settings)


def rt_detr(kind: type[PreTrainedConfig]) -> PreTrainedConfig:
    stages = ["stage2", "stage3", "stage4"]
    return kind(
        backbone_config=RTDetrResNetConfig(**STAGES, layer_type="basic", out_features=stages),
        **{"encoder_hidden_dim": WIDTH, "d_model": WIDTH, "decoder_in_channels": [WIDTH] * 3},
        **{"encoder_in_channels": [8, 16, 16], "decoder_layers": 2, "decoder_n_points": 2, "num_denoising": 0},
        **{**HEADS, "num_queries": QUERIES, "num_labels": CLASSES},
    )


def yolos() -> PreTrainedConfig:
    sizes = {"hidden_size": WIDTH, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
    pixels = {"image_size": [SIDE, SIDE], "patch_size": 16}
    return YolosConfig(**sizes, **pixels, num_detection_tokens=QUERIES, num_labels=CLASSES)


DETECTORS: dict[str, tuple[Callable[[], PreTrainedConfig], type[BaseImageProcessor]]] = {
    "detr": (lambda: with_backbone(DetrConfig, "stage4"), DetrImageProcessorPil),
    "conditional_detr": (lambda: with_backbone(ConditionalDetrConfig, "stage4"), ConditionalDetrImageProcessorPil),
    "dab-detr": (lambda: with_backbone(DabDetrConfig, "stage4", hidden_size=WIDTH), ConditionalDetrImageProcessorPil),
    "deformable_detr": (
        lambda: with_backbone(DeformableDetrConfig, "stage2", "stage3", "stage4", num_feature_levels=3),
        DeformableDetrImageProcessorPil,
    ),
    "rt_detr": (lambda: rt_detr(RTDetrConfig), RTDetrImageProcessorPil),
    "rt_detr_v2": (lambda: rt_detr(RTDetrV2Config), RTDetrImageProcessorPil),
    "yolos": (yolos, YolosImageProcessorPil),
}


def make_detector(name: str) -> Detecting:
    """A detector's model and its processor; the same name gives the same weights."""
    config, processor = DETECTORS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForObjectDetection.from_config(config())
    return model.eval(), processor(size=SIZE)
