"""The original's sizes and parameter names in terms of this package's: enough to load the recorded networks."""

import re

from mmnas_hf.configuration_mmnas import MMnasConfig
from mmnas_hf.genotype import SearchSpace

RENAMES = [
    (r"^embedding\.", "mmnas.words."),
    (r"^lstm\.", "mmnas.lstm."),
    (r"^imgfeat_linear\.", "mmnas.regions."),
    (r"^linear_y_rel\.", "mmnas.relations.plain.linear."),
    (r"^backnone\.cells_enc\.0\.dag\.", "mmnas.backbone.encoder."),
    (r"^backnone\.cells_dec\.0\.dag\.", "mmnas.backbone.decoder."),
    (r"^attflat_x\.", "head.words."),
    (r"^att(flat|fc)_y\.", "head.regions."),
    (r"^proj_norm\.", "head.norm."),
    (r"^proj\.", "head.classifier."),
    (r"^proj_scores\.", "head.score."),
    (r"^proj_reg\.", "head.box."),
    (r"(head\.\w+)\.mlp\.fc\.linear\.", r"\1.hidden."),
    (r"(head\.\w+)\.mlp\.linear\.", r"\1.score."),
    (r"(head\.\w+)\.linear_merge\.", r"\1.merge."),
    (r"\.mlp\.fc\.linear\.", ".operation.expand."),
    (r"\.mlp\.linear\.", ".operation.contract."),
    (r"\.mhatt\.linear_r\.", ".operation.relation."),
    (r"\.mhatt\.linear_q\.", ".operation.attention.query."),
    (r"\.mhatt\.linear_k\.", ".operation.attention.key."),
    (r"\.mhatt\.linear_v\.", ".operation.attention.value."),
    (r"\.mhatt\.linear_merge\.", ".operation.attention.merge."),
    (r"\.(ln\.)?a_2$", lambda match: ".norm.weight" if match[1] else ".weight"),
    (r"\.(ln\.)?b_2$", lambda match: ".norm.bias" if match[1] else ".bias"),
]


def rename(key: str, space: SearchSpace) -> str:
    for pattern, new in RENAMES:
        key = re.sub(pattern, new, key)

    def candidate(match: re.Match) -> str:
        names = getattr(space, match["side"])[int(match["node"])]
        return f"{match['start']}{match['node']}.{names[int(match['index'] or 0)]}."

    node = (
        r"^(?P<start>mmnas\.backbone\.(?P<side>encoder|decoder)\.)(?P<node>\d+)\.0\.(candidate_ops\.(?P<index>\d)\.)?"
    )
    return re.sub(node, candidate, key)


def golden_config(sizes: dict, **architecture) -> MMnasConfig:
    """The configuration of a recorded network, whose dropout is 0."""
    return MMnasConfig(
        vocab_size=sizes["vocab_size"],
        word_size=sizes["word_embed_size"],
        region_size=sizes["region_feature_size"],
        hidden_size=sizes["hidden_size"],
        relation_size=sizes["relation_size"],
        pooler_size=sizes["attention_pool_mlp_size"],
        dropout=0,
        num_labels=sizes["num_answers"],
        **architecture,
    )
